#!/usr/bin/env python3
"""The 1,797 handwritten digits that come with scikit-learn, as files that every command reads.

Usage: digits.py FOLDER     leaves FOLDER/x.npy, (1797, 64) float32 from 0 to 16, and FOLDER/y.npy, (1797) int64

    scalelab prune-study --data FOLDER/x.npy --labels FOLDER/y.npy --out digits
"""
import os
import sys

import numpy as np
from sklearn.datasets import load_digits

folder = sys.argv[1]
os.makedirs(folder, exist_ok=True)
x, y = load_digits(return_X_y=True)
np.save(os.path.join(folder, "x.npy"), x.astype(np.float32))
np.save(os.path.join(folder, "y.npy"), y)
