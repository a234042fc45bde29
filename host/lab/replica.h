// replica: what keeping a chosen part of the data is worth, exactly: the teacher-student perceptron of Sorscher et al.
// 2022 (arXiv 2206.14486) in the limit of many dimensions.
//
// Inputs x ~ N(0, I_d), labels y = sign(T.x). Of alpha_total d examples the fraction f with the smallest (hard) or the
// largest (easy) margin |J_probe.x| is kept, the probe at an angle to the teacher; the student is the max-margin
// perceptron on what is kept. Its test error is angle(student, teacher) / pi.
#pragma once

namespace scalelab::host {

enum class Keep { hard, easy, random };

struct Perceptron {
  double alpha_total = 1;  // examples per dimension before the choice, > 0
  double fraction = 1;     // kept, in (0, 1]
  Keep keep = Keep::random;
  double probe_angle = 0;  // radians between probe and teacher, in [0, pi/2)
};

struct ReplicaSolution {
  double error;          // probability that the student misclassifies a fresh example
  double margin;         // kappa, of the student on the kept examples, |student| = 1
  double overlap;        // R = student . teacher
  double probe_overlap;  // rho = student . probe
};

// Maximises kappa over the student's direction subject to alpha E[(kappa - t)_+^2] = q, where t is the margin of a kept
// example and q the share of the student outside the plane of teacher and probe. Relative accuracy of the error about
// 1e-6 for errors above 1e-4 (tests/replica_test.cpp). Throws std::invalid_argument outside the ranges above.
ReplicaSolution solve_replica(const Perceptron& problem);

// From which alpha_total on keeping by `keep` has a lower error than a random choice of the same size, of sizes from 0.1
// to 1000: 0 where it is lower at all of them, +infinity where at none. Sizes a factor 10^(1/4) apart are looked at; NaN
// where it is lower at one of them and not at a larger one.
double crossover_with_random(double fraction, Keep keep, double probe_angle = 0);

}  // namespace scalelab::host
