// Live panels: the trained networks and the kNN points of a comparison, evaluated at every pixel by WebGL2, so that two
// linked panels zoom as far as fp32 goes, beside a third with where they differ and which of them is right.
//
// Data: <script type="application/json" id="live-data">, made by live_data in report.cpp: points (n, 2) and labels (n) of
// one seed, every set the first N of them; networks in the flat layout of include/scalelab/mlp.h. Label maps run from
// the smallest y up, as those of grid.h; pixel centres are those of its cells. Without WebGL2 the panels show the
// pictures of the page, which are the record in any case.
// Offers window.scalelabLive = {labels(model, n, size), score(model, n, x, y), settled}: what the panels are made of.
'use strict';
(function () {
  const data = JSON.parse(document.getElementById('live-data').textContent);
  const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const floats = (text) => new Float32Array(bytes(text).buffer);
  const points = floats(data.points), pointLabels = bytes(data.labels);
  const models = new Map(data.models.map((model) => [model.name, model]));
  for (const model of data.models) {
    if (model.k) continue;
    model.parameters = new Map(Object.entries(model.networks).map(([n, text]) => [+n, floats(text)]));
    model.sizes = [...model.parameters.keys()].sort((a, b) => a - b);
  }
  for (const model of data.models) if (model.k) model.sizes = data.sizes.filter((n) => n >= model.k);
  const features = (model) => model.encoding === 'polar-trig' ? 3 : 2;

  // --- one place at a time, in double precision ----------------------------------------------------------------------

  // 1 inside the band, 0 outside, as include/scalelab/spiral.h.
  function truth(x, y) {
    const {turns, tip_radius, start_angle} = data.spiral, full = 2 * Math.PI, end = full * turns, c = tip_radius / end;
    const rho = Math.hypot(x, y);
    let phi = Math.atan2(y, x) - start_angle;
    phi -= full * Math.floor(phi / full);
    const t = phi + full * Math.max(0, Math.round((rho / c - phi) / full));
    return Math.abs(rho - c * t) < .5 * Math.PI * c * Math.min(1, t / full, (end - t) / (Math.PI / 2)) ? 1 : 0;
  }

  function encoded(model, x, y) {
    const r = Math.hypot(x, y), theta = Math.atan2(y, x);
    switch (model.encoding) {
      case 'polar': return [2 * r - 1, theta / Math.PI];
      case 'polar-raw': return [r, theta];
      case 'polar-trig': return [2 * r - 1, Math.cos(theta), Math.sin(theta)];
      default: return [x, y];
    }
  }

  function logit(model, n, x, y) {
    const p = model.parameters.get(n), {width, layers} = model;
    let values = encoded(model, x, y), at = 0;
    for (let l = 0; l < layers; ++l) {
      const fanIn = values.length, next = new Array(width);
      for (let j = 0; j < width; ++j) {
        let sum = p[at + width * fanIn + j];
        for (let i = 0; i < fanIn; ++i) sum += p[at + j * fanIn + i] * values[i];
        next[j] = sum;
      }
      at += width * fanIn + width;
      if (model.layer_norm) {
        const mean = next.reduce((a, b) => a + b, 0) / width;
        const deviation = Math.sqrt(next.reduce((a, b) => a + (b - mean) ** 2, 0) / width + 1e-5);
        for (let j = 0; j < width; ++j) next[j] = p[at + j] * (next[j] - mean) / deviation + p[at + width + j];
        at += 2 * width;
      }
      values = next.map((value) => Math.max(0, value));
    }
    return values.reduce((sum, value, i) => sum + p[at + i] * value, p[at + width]);
  }

  function votes(model, n, x, y) {
    const nearest = [];  // [distance, label], ascending; of equal distances the lower index first
    for (let i = 0; i < n; ++i) {
      const d = (x - points[2 * i]) ** 2 + (y - points[2 * i + 1]) ** 2;
      if (nearest.length === model.k && d >= nearest[model.k - 1][0]) continue;
      let at = nearest.length;
      while (at > 0 && d < nearest[at - 1][0]) --at;
      nearest.splice(at, 0, [d, pointLabels[i]]);
      nearest.length = Math.min(nearest.length, model.k);
    }
    return nearest.reduce((sum, [, label]) => sum + label, 0);
  }

  // A logit, or the votes for orange.
  const score = (model, n, x, y) => model.k ? votes(model, n, x, y) : logit(model, n, x, y);
  const isOrange = (model, value) => model.k ? 2 * value > model.k : value > 0;

  // --- whole maps ----------------------------------------------------------------------------------------------------

  const kRow = 1024;  // texels in a row of a texture that is read as a list
  const kHead = `#version 300 es
precision highp float;
precision highp int;
precision highp sampler2D;
uniform vec4 area;  // smallest x and y, and the size of a pixel
uniform sampler2D list;
out vec4 result;  // the class, and how much of the vote or of the probability is orange's
vec4 item(int i) { return texelFetch(list, ivec2(i & ${kRow - 1}, i / ${kRow}), 0); }
`;
  const kVertex = `#version 300 es
void main() { gl_Position = vec4(gl_VertexID == 1 ? 3. : -1., gl_VertexID == 2 ? 3. : -1., 0., 1.); }`;

  // Points lie in the list by the cells of a grid over the domain, each with its label and its place in the data, and
  // behind them stands where each cell begins, four to a texel. A pixel looks into rings of cells round its own, until
  // what lies outside is farther than the last neighbour found; of equal distances the lower place in the data is first.
  const knnShader = (k) => kHead + `
uniform int count, side;  // points, and cells a side
int begin(int cell) { return int(item(count + (cell >> 2))[cell & 3]); }
void main() {
  vec2 q = gl_FragCoord.xy * area.zw + area.xy;
  float nearest[${k}], orange[${k}], place[${k}];
  for (int j = 0; j < ${k}; ++j) { nearest[j] = 3e38; orange[j] = 0.; place[j] = 3e38; }
  float width = 2. / float(side);
  ivec2 home = clamp(ivec2(floor((q + 1.) / width)), ivec2(0), ivec2(side - 1));
  for (int ring = 0; ring < side; ++ring) {
    vec2 low = q + 1. - vec2(home - ring + 1) * width, high = vec2(home + ring) * width - q - 1.;
    float away = min(min(low.x, low.y), min(high.x, high.y));
    if (ring > 0 && away > 0. && nearest[${k - 1}] < away * away * .9999) break;
    for (int row = max(home.y - ring, 0); row <= min(home.y + ring, side - 1); ++row) {
      bool whole = abs(row - home.y) == ring;  // else the ring has two cells of the row
      for (int part = 0; part < (whole ? 1 : 2); ++part) {
        int first = part == 0 ? home.x - ring : home.x + ring, last = whole ? home.x + ring : first;
        if (last < 0 || first >= side) continue;
        int end = begin(row * side + min(last, side - 1) + 1);
        for (int i = begin(row * side + max(first, 0)); i < end; ++i) {
          vec4 p = item(i);
          vec2 t = q - p.xy;
          float s = t.x * t.x + t.y * t.y;
          if (s > nearest[${k - 1}] || (s == nearest[${k - 1}] && p.w > place[${k - 1}])) continue;
          nearest[${k - 1}] = s; orange[${k - 1}] = p.z; place[${k - 1}] = p.w;
          for (int j = ${k - 1}; j > 0; --j) {
            if (nearest[j] > nearest[j - 1] || (nearest[j] == nearest[j - 1] && place[j] > place[j - 1])) break;
            vec3 behind = vec3(nearest[j], orange[j], place[j]);
            nearest[j] = nearest[j - 1]; orange[j] = orange[j - 1]; place[j] = place[j - 1];
            nearest[j - 1] = behind.x; orange[j - 1] = behind.y; place[j - 1] = behind.z;
          }
        }
      }
    }
  }
  float votes = 0.;
  for (int j = 0; j < ${k}; ++j) votes += orange[j];
  result = vec4(2. * votes > ${k}. ? 1. : 0., votes / ${k}., 0., 1.);
}`;

  // Cells a side of the grid of n points: two points to a cell.
  const gridSide = (n) => Math.max(1, Math.min(256, Math.floor(Math.sqrt(n / 2))));
  // The first n points and their cells, in the order in which the shader reads them.
  function pointsByCell(n) {
    const side = gridSide(n), begins = new Float32Array(4 * Math.ceil((side * side + 1) / 4)), list = new Float32Array(4 * n);
    const axis = (v) => Math.max(0, Math.min(side - 1, Math.floor((v + 1) / 2 * side)));
    const cells = Int32Array.from({length: n}, (unused, i) => axis(points[2 * i + 1]) * side + axis(points[2 * i]));
    for (const cell of cells) ++begins[cell + 1];
    for (let cell = 1; cell <= side * side; ++cell) begins[cell] += begins[cell - 1];
    const next = begins.slice();
    for (let i = 0; i < n; ++i) list.set([points[2 * i], points[2 * i + 1], pointLabels[i], i], 4 * next[cells[i]]++);
    return [...list, ...begins];
  }

  // The angle is computed by arithmetic, as in include/scalelab/math.h: what atan gives may be off by 4096 units in the
  // last place. Layers hold their units in groups of four; units that only fill a group are zero throughout.
  function networkShader(model) {
    const groups = Math.ceil(model.width / 4), filling = 4 * groups - model.width;
    const inputs = {
      'xy': 'vec4(q, 0., 0.)', 'polar': 'vec4(2. * r - 1., angle(q) * 0.3183098861837907, 0., 0.)',
      'polar-raw': 'vec4(r, angle(q), 0., 0.)', 'polar-trig': 'vec4(2. * r - 1., r > 0. ? q / r : vec2(1., 0.), 0.)'};
    let text = kHead + `
float angle(vec2 q) {
  vec2 a = abs(q);
  float larger = max(a.x, a.y), base = 0.;
  if (larger == 0.) return 0.;
  float t = min(a.x, a.y) / larger;
  if (t > 0.4142135623730950) { t = (t - 1.) / (t + 1.); base = 0.7853981633974483; }
  float t2 = t * t;
  float series = ((((((t2 / 17. - 1. / 15.) * t2 + 1. / 13.) * t2 - 1. / 11.) * t2 + 1. / 9.) * t2 - 1. / 7.) * t2 + 1. / 5.) * t2 - 1. / 3.;
  float result = base + (series * t2 * t + t);
  if (a.y > a.x) result = 1.5707963267948966 - result;
  if (q.x < 0.) result = 3.141592653589793 - result;
  return q.y < 0. ? -result : result;
}
void main() {
  vec2 q = gl_FragCoord.xy * area.zw + area.xy;
  float r = length(q);
  vec4 a[${groups}], b[${groups}];
  a[0] = ${inputs[model.encoding]};
`;
    let at = 0;
    for (let l = 0; l < model.layers; ++l) {
      const fanIn = l === 0 ? 1 : groups, stride = 1 + 4 * fanIn;
      text += `  for (int g = 0; g < ${groups}; ++g) {
    int at = ${at} + ${stride} * g;
    vec4 s = item(at++);
    for (int i = 0; i < ${fanIn}; ++i, at += 4) {
      s += vec4(dot(item(at), a[i]), dot(item(at + 1), a[i]), dot(item(at + 2), a[i]), dot(item(at + 3), a[i]));
    }
    b[g] = s;
  }
`;
      at += stride * groups;
      if (model.layer_norm) {
        text += `  {
    float mean = 0., squares = 0.;
    for (int g = 0; g < ${groups}; ++g) mean += dot(b[g], vec4(1.));
    mean /= ${model.width}.;
    for (int g = 0; g < ${groups}; ++g) { vec4 t = b[g] - mean; squares += dot(t, t); }
    float deviation = sqrt(max(0., squares - ${filling}. * mean * mean) / ${model.width}. + 1e-5);
    for (int g = 0; g < ${groups}; ++g) b[g] = item(${at} + g) * (b[g] - mean) / deviation + item(${at + groups} + g);
  }
`;
        at += 2 * groups;
      }
      text += `  for (int g = 0; g < ${groups}; ++g) a[g] = max(b[g], 0.);\n`;
    }
    return text + `  float logit = item(${at}).x;
  for (int g = 0; g < ${groups}; ++g) logit += dot(item(${at + 1} + g), a[g]);
  result = vec4(logit > 0. ? 1. : 0., 1. / (1. + exp(-clamp(logit, -60., 60.))), 0., 1.);
}`;
  }

  // The parameters in the order in which the shader reads them.
  function packed(model, p) {
    const {width} = model, groups = Math.ceil(width / 4), list = [];
    const vector = (base, used) => [0, 1, 2, 3].map((i) => i < used ? p[base + i] : 0);
    const group = (base, g) => vector(base + 4 * g, width - 4 * g);
    let at = 0, fanIn = features(model);
    for (let l = 0; l < model.layers; ++l) {
      for (let g = 0; g < groups; ++g) {
        list.push(...group(at + width * fanIn, g));
        for (let i = 0; i < fanIn; i += 4) {
          for (let j = 4 * g; j < 4 * g + 4; ++j) list.push(...vector(at + j * fanIn + i, j < width ? fanIn - i : 0));
        }
      }
      at += width * fanIn + width;
      if (model.layer_norm) {
        for (const base of [at, at + width]) for (let g = 0; g < groups; ++g) list.push(...group(base, g));
        at += 2 * width;
      }
      fanIn = width;
    }
    list.push(p[at + width], 0, 0, 0);
    for (let g = 0; g < groups; ++g) list.push(...group(at, g));
    return list;
  }

  // Draws maps into a texture of its own. Throws where WebGL2 is missing.
  class Painter {
    constructor() {
      this.canvas = document.createElement('canvas');
      const gl = this.gl = this.canvas.getContext('webgl2', {antialias: false, depth: false, powerPreference: 'high-performance'});
      if (!gl) throw new Error('no WebGL2');
      this.programs = new Map();
      this.lists = new Map();
      this.target = gl.createTexture();
      this.framebuffer = gl.createFramebuffer();
      this.size = 0;
      gl.bindVertexArray(gl.createVertexArray());
    }
    list(values) {
      const {gl} = this, rows = Math.ceil(values.length / 4 / kRow), texture = gl.createTexture();
      const filled = new Float32Array(4 * kRow * rows);
      filled.set(values);
      gl.bindTexture(gl.TEXTURE_2D, texture);
      gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.NEAREST);
      gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, gl.NEAREST);
      gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA32F, kRow, rows, 0, gl.RGBA, gl.FLOAT, filled);
      return texture;
    }
    program(model) {
      const key = model.k ? `knn ${model.k}` : [model.encoding, model.width, model.layers, model.layer_norm].join(' ');
      if (this.programs.has(key)) return this.programs.get(key);
      const {gl} = this, program = gl.createProgram();
      for (const [type, text] of [[gl.VERTEX_SHADER, kVertex],
                                  [gl.FRAGMENT_SHADER, model.k ? knnShader(model.k) : networkShader(model)]]) {
        const shader = gl.createShader(type);
        gl.shaderSource(shader, text);
        gl.compileShader(shader);
        gl.attachShader(program, shader);
      }
      gl.linkProgram(program);
      if (!gl.getProgramParameter(program, gl.LINK_STATUS) && !gl.isContextLost()) throw new Error(gl.getProgramInfoLog(program));
      const place = (name) => gl.getUniformLocation(program, name);
      const made = {program, area: place('area'), count: place('count'), side: place('side'), rate: 0};
      this.programs.set(key, made);
      return made;
    }
    listOf(model, n) {
      const key = model.k ? n : model.name + ' ' + n;
      if (!this.lists.has(key)) {
        this.lists.set(key, this.list(new Float32Array(model.k ? pointsByCell(n) : packed(model, model.parameters.get(n)))));
      }
      return this.lists.get(key);
    }
    // Rows [begin, end) of a map of size x size pixels over [x - half, x + half] x [y - half, y + half]: RGBA, 8 bits.
    rows(model, n, view, size, begin, end, out) {
      const {gl} = this, made = this.program(model);
      gl.bindFramebuffer(gl.FRAMEBUFFER, this.framebuffer);
      if (this.size !== size) {
        gl.bindTexture(gl.TEXTURE_2D, this.target);
        gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA8, size, size, 0, gl.RGBA, gl.UNSIGNED_BYTE, null);
        gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, this.target, 0);
        this.size = size;
      }
      gl.viewport(0, 0, size, size);
      gl.enable(gl.SCISSOR_TEST);
      gl.scissor(0, begin, size, end - begin);
      gl.useProgram(made.program);
      gl.bindTexture(gl.TEXTURE_2D, this.listOf(model, n));
      gl.uniform4f(made.area, view.x - view.half, view.y - view.half, 2 * view.half / size, 2 * view.half / size);
      if (model.k) {
        gl.uniform1i(made.count, n);
        gl.uniform1i(made.side, gridSide(n));
      }
      const started = performance.now();
      gl.drawArrays(gl.TRIANGLES, 0, 3);
      gl.readPixels(0, begin, size, end - begin, gl.RGBA, gl.UNSIGNED_BYTE, out.subarray(4 * size * begin, 4 * size * end));
      if (gl.isContextLost()) throw new Error('the WebGL2 context was lost');
      // Milliseconds a pixel: decides how coarse a map is while the view moves.
      made.rate = (performance.now() - started) / (size * (end - begin));
    }
    // What a map takes, from the last one of such models; the first time two small ones are made: the shader is
    // compiled with the first, the second is timed.
    milliseconds(model, n, pixels) {
      const made = this.program(model);
      if (!made.rate) for (const size of [4, 24]) this.rows(model, n, whole, size, 0, size, new Uint8Array(4 * size * size));
      return made.rate * pixels;
    }
  }

  const whole = {x: 0, y: 0, half: 1};
  let painter = null;
  try {
    painter = new Painter();
  } catch (error) {
    painter = null;
  }

  function labels(name, n, size) {
    const out = new Uint8Array(4 * size * size);
    painter.rows(models.get(name), n, whole, size, 0, size, out);
    return Uint8Array.from({length: size * size}, (unused, i) => out[4 * i] > 127 ? 1 : 0);
  }

  // --- the panels ----------------------------------------------------------------------------------------------------

  const area = document.getElementById('live-panels'), status = document.getElementById('live-status');
  const panels = {};
  for (const figure of area.querySelectorAll('figure')) {
    panels[figure.dataset.side] = {
      figure, canvas: figure.querySelector('canvas'), caption: figure.querySelector('figcaption'), cross: figure.querySelector('i'),
      select: figure.querySelector('select'), slider: figure.querySelector('input'), output: figure.querySelector('output')};
  }
  const sides = [panels.left, panels.right], everyPanel = [...sides, panels.difference];
  const showPoints = document.getElementById('live-points'), showConfidence = document.getElementById('live-confidence');
  const view = {...whole};
  let pointer = null;   // the place pointed at
  let settled = null;   // resolves when the panels show what was asked for
  let generation = 0;   // of the picture asked for; what belongs to an older one is dropped
  const grouped = (n) => n.toLocaleString('en');
  const percent = (share) => (100 * share).toPrecision(share >= .1 ? 3 : 2) + ' %';

  const rgb = (text) => [1, 3, 5].map((i) => parseInt(text.slice(i, i + 2), 16));
  const kAreas = ['#d3e6f9', '#f6ddca'].map(rgb), kPoints = ['#3284d0', '#c06400'];
  const kStops = ['#3284d0', '#67a4e1', '#9fc7f0', '#d3e6f9', '#f5f5f4', '#f6ddca', '#e9b48d', '#d4894d', '#c06400'].map(rgb);
  const kVerdicts = ['#f5f5f4', '#8a5ac2', '#2a9d8f', '#4a4a46'].map(rgb);  // both right, only left, only right, neither

  function pixelsAcross() {
    const across = panels.left.canvas.clientWidth * Math.min(2, window.devicePixelRatio || 1);
    return Math.max(64, Math.min(640, Math.round(across)));
  }

  const keyOf = (side, size) => [side.model.name, side.n, view.x, view.y, view.half, size].join(' ');
  // The map of a side at a resolution, in bands that leave the page responsive; null when it is no longer wanted.
  async function mapOf(side, size, wanted) {
    const key = keyOf(side, size);
    if (side.key === key) return side.map;
    const map = new Uint8Array(4 * size * size);
    const at = {...view};
    for (let begin = 0; begin < size;) {
      const rowTime = painter.milliseconds(side.model, side.n, size);
      const end = Math.min(size, begin + Math.max(1, Math.min(size / 4, Math.floor(30 / rowTime))) | 0);
      painter.rows(side.model, side.n, at, size, begin, end, map);
      begin = end;
      if (begin < size && rowTime * size > 30) await new Promise((done) => setTimeout(done));
      if (wanted !== generation) return null;
    }
    side.key = key;
    side.map = map;
    return map;
  }

  function truthMap(size) {
    const map = new Uint8Array(size * size), step = 2 * view.half / size;
    for (let row = 0, i = 0; row < size; ++row) {
      for (let column = 0; column < size; ++column, ++i) {
        map[i] = truth(view.x - view.half + (column + .5) * step, view.y - view.half + (row + .5) * step);
      }
    }
    return map;
  }

  const kWidestCell = 2;  // pixels: of cells that are wider no edges are drawn
  const buffer = document.createElement('canvas');
  // Shows a map on a canvas: its colours by pixel, upside up, and where `edge` changes, a line.
  function show(canvas, size, colour, edge, edgeColour) {
    const across = pixelsAcross(), lines = across <= kWidestCell * size;
    if (canvas.width !== across) canvas.width = canvas.height = across;
    buffer.width = buffer.height = size;
    const context = buffer.getContext('2d'), image = context.createImageData(size, size);
    for (let row = 0, i = 0; row < size; ++row) {
      let to = 4 * size * (size - 1 - row);
      for (let column = 0; column < size; ++column, ++i, to += 4) {
        const here = edge(i);
        const line = lines && ((column + 1 < size && edge(i + 1) !== here) || (row + 1 < size && edge(i + size) !== here));
        const [r, g, b] = line ? edgeColour : colour(i);
        image.data[to] = r; image.data[to + 1] = g; image.data[to + 2] = b; image.data[to + 3] = 255;
      }
    }
    context.putImageData(image, 0, 0);
    const onto = canvas.getContext('2d');
    onto.imageSmoothingEnabled = false;
    onto.drawImage(buffer, 0, 0, across, across);
    return onto;
  }

  function drawPoints(context, n) {
    const across = context.canvas.width, scale = across / (2 * view.half);
    const radius = Math.min(6, Math.max(.9, 2.4 * (n / 1000) ** -.36) * Math.sqrt(1 / view.half)) * across / 512;
    for (let i = 0; i < n; ++i) {
      const x = (points[2 * i] - view.x + view.half) * scale, y = across - (points[2 * i + 1] - view.y + view.half) * scale;
      if (x < -9 || y < -9 || x > across + 9 || y > across + 9) continue;
      context.fillStyle = kPoints[pointLabels[i]];
      context.beginPath();
      context.arc(x, y, radius, 0, 2 * Math.PI);
      context.fill();
    }
  }

  // Shows both maps and where they differ. Shares are told of maps that have a cell for each pixel alone. `pictured`: the
  // panels already show pictures, which are finer.
  function compose(size, pictured) {
    const truths = truthMap(size), cells = size * size, fine = size === pixelsAcross();
    for (const side of sides) {
      const {map, model} = side;
      let wrong = 0;
      for (let i = 0; i < cells; ++i) wrong += (map[4 * i] > 127) !== (truths[i] === 1);
      side.wrong = fine ? wrong / cells : undefined;
      side.canvas.setAttribute('aria-label', `${model.name} at ${grouped(side.n)} points` +
                               (fine ? `: ${percent(side.wrong)} of this view wrong` : ''));
      if (pictured) continue;
      const shade = showConfidence.checked
        ? (i) => kStops[Math.round(map[4 * i + 1] / 255 * 8)] : (i) => kAreas[map[4 * i] > 127 ? 1 : 0];
      const context = show(side.canvas, size, shade, (i) => map[4 * i] > 127, [0, 0, 0]);
      if (showPoints.checked) drawPoints(context, side.n);
    }
    const [left, right] = sides.map((side) => side.map);
    const verdict = (i) => {
      const a = (left[4 * i] > 127) === (truths[i] === 1), b = (right[4 * i] > 127) === (truths[i] === 1);
      return a ? (b ? 0 : 1) : b ? 2 : 3;
    };
    const counts = [0, 0, 0, 0];
    for (let i = 0; i < cells; ++i) ++counts[verdict(i)];
    show(panels.difference.canvas, size, (i) => kVerdicts[verdict(i)], (i) => truths[i], [150, 150, 146]);
    panels.difference.shares = counts.map((count) => fine ? count / cells : undefined);
  }

  const element = (name, text, parent) => {
    const made = document.createElement(name);
    made.textContent = text;
    if (parent) parent.append(made);
    return made;
  };
  function captions() {
    const named = ['blue', 'orange'];
    for (const panel of everyPanel) {
      panel.cross.hidden = !pointer;
      if (!pointer) continue;
      panel.cross.style.left = 50 + 50 * (pointer.x - view.x) / view.half + '%';
      panel.cross.style.top = 50 - 50 * (pointer.y - view.y) / view.half + '%';
    }
    const here = [];
    for (const side of sides) {
      side.caption.textContent = '';
      if (side.wrong !== undefined) element('b', `${percent(side.wrong)} of this view wrong`, side.caption);
      let text = `seed ${data.seed}`;
      if (pointer) {
        const value = score(side.model, side.n, pointer.x, pointer.y), orange = isOrange(side.model, value);
        here.push(orange ? 1 : 0);
        text = `here: ${named[orange ? 1 : 0]}, ` + (side.model.k ? `${value} of ${side.model.k} vote${side.model.k > 1 ? 's' : ''} orange`
                                                              : `logit ${value > 0 ? '+' : ''}${value.toFixed(2)}`);
      }
      element('span', text, side.caption);
    }
    const {caption, shares} = panels.difference;
    caption.textContent = '';
    if (shares) {
      const list = element('span', '', caption);
      list.className = 'key';
      ['both right', 'only the left', 'only the right', 'neither'].forEach((text, i) => {
        const entry = element('span', '', list), swatch = element('i', '', entry);
        swatch.style.background = `rgb(${kVerdicts[i]})`;
        entry.append(text + (shares[i] === undefined ? '' : ' ' + percent(shares[i])));
      });
    }
    if (pointer) element('span', `here (${pointer.x.toFixed(3)}, ${pointer.y.toFixed(3)}): truly ${named[truth(pointer.x, pointer.y)]}`, caption);
  }

  const pictureOf = (side) => document.querySelector(`img[data-model="${CSS.escape(side.model.name)}"][data-n="${side.n}"]`);
  // The pictures of the page in place of maps, of those sides that have one; whether both have.
  function showPictures() {
    const pictures = sides.map(pictureOf), across = painter ? pixelsAcross() : 512;
    sides.forEach(({canvas}, i) => {
      const picture = pictures[i];
      if (!picture || !picture.complete) return;
      canvas.width = canvas.height = across;
      canvas.getContext('2d').drawImage(picture, 0, 0, across, across);
    });
    return pictures.every((picture) => picture && picture.complete);
  }
  function whenPicturesLoad(then) {
    for (const side of sides) {
      const picture = pictureOf(side);
      if (picture && !picture.complete) picture.addEventListener('load', then, {once: true});
    }
  }

  // Maps of this many cells a side, from one that keeps up with the hand to one with a cell for each pixel.
  function sizesOf(full) {
    const cost = (size) => sides.reduce((sum, side) => sum + painter.milliseconds(side.model, side.n, size * size), 0);
    const sizes = [full];
    while (sizes[0] > 48 && cost(sizes[0]) > 40) sizes.unshift(Math.ceil(sizes[0] / 2));
    return sizes;
  }

  function refresh() {
    const wanted = ++generation;
    if (!painter) {
      showPictures();
      whenPicturesLoad(() => { if (wanted === generation) showPictures(); });
      captions();
      return;
    }
    const full = pixelsAcross(), known = sides.every((side) => side.key === keyOf(side, full));
    let pictured = false;
    if (!known) {
      for (const side of sides) side.wrong = undefined;
      panels.difference.shares = undefined;
      // The whole plane is there as a picture, until the page has drawn it anew.
      if (view.half === whole.half && !showConfidence.checked) {
        pictured = showPictures();
        whenPicturesLoad(() => { if (wanted === generation && sides[0].wrong === undefined) pictured = showPictures(); });
      }
    }
    captions();
    settled = (async () => {
      const sizes = known ? [full] : sizesOf(full);
      for (const [i, size] of sizes.entries()) {
        const last = i + 1 === sizes.length;
        if (i === 1) await new Promise((done) => setTimeout(done, 150));  // the hand may not be at rest yet
        for (const side of sides) if (await mapOf(side, size, wanted) === null) return;
        if (wanted !== generation) return;
        compose(size, pictured && !last);
        captions();
      }
    })().catch((error) => {
      painter = null;
      status.textContent = `${error.message}: the panels show the pictures of the page. `;
      Object.assign(view, whole);
      refresh();
    });
  }

  function moveTo(x, y, half) {
    if (!painter) return;
    view.half = Math.min(1, Math.max(1e-4, half));
    view.x = Math.min(1 - view.half, Math.max(view.half - 1, x));
    view.y = Math.min(1 - view.half, Math.max(view.half - 1, y));
    refresh();
  }
  const placeOf = (event) => {
    const box = event.target.getBoundingClientRect();
    return {x: view.x + view.half * (2 * (event.clientX - box.left) / box.width - 1),
            y: view.y - view.half * (2 * (event.clientY - box.top) / box.height - 1)};
  };
  function zoomAt(place, factor) {
    const half = Math.min(1, Math.max(1e-4, view.half * factor)), share = half / view.half;
    moveTo(place.x + (view.x - place.x) * share, place.y + (view.y - place.y) * share, half);
  }

  function choose(side, name, n) {
    side.model = models.get(name);
    const sizes = side.model.sizes;
    side.n = sizes.reduce((best, size) => Math.abs(Math.log(size / n)) < Math.abs(Math.log(best / n)) ? size : best);
    side.select.value = name;
    side.slider.max = sizes.length - 1;
    side.slider.value = sizes.indexOf(side.n);
    side.slider.disabled = sizes.length < 2;
    side.slider.setAttribute('aria-valuetext', grouped(side.n) + ' points');
    side.output.textContent = grouped(side.n);
  }
  for (const [side, start] of [[panels.left, data.left], [panels.right, data.right]]) {
    for (const name of models.keys()) {
      if (!painter && !document.querySelector(`img[data-model="${CSS.escape(name)}"]`)) continue;
      element('option', name, side.select).value = name;
    }
    choose(side, start.model, start.n);
    side.select.addEventListener('change', () => { choose(side, side.select.value, side.n); refresh(); });
    side.slider.addEventListener('input', () => { choose(side, side.model.name, side.model.sizes[side.slider.value]); refresh(); });
  }

  // --- wheel, drag, touch, keys --------------------------------------------------------------------------------------

  for (const {canvas} of everyPanel) {
    let drag = null, pinch = null;
    canvas.addEventListener('pointerdown', (event) => {
      if (event.pointerType === 'touch') {
        pointer = placeOf(event);
        captions();
        return;
      }
      drag = placeOf(event);
      canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener('pointermove', (event) => {
      if (event.pointerType === 'touch') return;
      pointer = placeOf(event);
      if (drag && (drag.x !== pointer.x || drag.y !== pointer.y)) {
        moveTo(view.x + drag.x - pointer.x, view.y + drag.y - pointer.y, view.half);
        pointer = placeOf(event);
      }
      captions();
    });
    for (const end of ['pointerup', 'pointercancel']) canvas.addEventListener(end, () => { drag = null; });
    canvas.addEventListener('pointerleave', () => { pointer = null; captions(); });
    canvas.addEventListener('dblclick', (event) => zoomAt(placeOf(event), event.shiftKey ? 2 : .5));
    // A page is scrolled through: the wheel and one finger are the page's until a panel has the focus, or two fingers.
    canvas.addEventListener('wheel', (event) => {
      if (!event.ctrlKey && !everyPanel.some((panel) => panel.canvas === document.activeElement)) return;
      event.preventDefault();
      zoomAt(placeOf(event), Math.exp(Math.max(-60, Math.min(60, event.deltaY)) * .004));
    }, {passive: false});
    const fingers = (event) => {
      const [a, b] = event.touches;
      const place = placeOf({target: canvas, clientX: (a.clientX + b.clientX) / 2, clientY: (a.clientY + b.clientY) / 2});
      return {place, apart: Math.max(8, Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY))};
    };
    canvas.addEventListener('touchstart', (event) => {
      if (event.touches.length !== 2) return;
      event.preventDefault();
      pinch = fingers(event);
    }, {passive: false});
    canvas.addEventListener('touchmove', (event) => {
      if (!pinch || event.touches.length !== 2) return;
      event.preventDefault();
      const now = fingers(event);
      moveTo(view.x + pinch.place.x - now.place.x, view.y + pinch.place.y - now.place.y, view.half);
      zoomAt(pinch.place, pinch.apart / now.apart);
      pinch.apart = now.apart;
    }, {passive: false});
    for (const end of ['touchend', 'touchcancel']) canvas.addEventListener(end, () => { pinch = null; });
    canvas.addEventListener('keydown', (event) => {
      const step = .25 * view.half, keys = {
        ArrowLeft: () => moveTo(view.x - step, view.y, view.half), ArrowRight: () => moveTo(view.x + step, view.y, view.half),
        ArrowUp: () => moveTo(view.x, view.y + step, view.half), ArrowDown: () => moveTo(view.x, view.y - step, view.half),
        '+': () => zoomAt(view, .8), '=': () => zoomAt(view, .8), '-': () => zoomAt(view, 1.25), 0: () => moveTo(0, 0, 1)};
      if (!keys[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      keys[event.key]();
    });
  }
  document.getElementById('live-in').addEventListener('click', () => zoomAt(view, .5));
  document.getElementById('live-out').addEventListener('click', () => zoomAt(view, 2));
  document.getElementById('live-reset').addEventListener('click', () => moveTo(0, 0, 1));
  for (const box of [showPoints, showConfidence]) box.addEventListener('change', refresh);
  let resized = 0;
  new ResizeObserver(() => {
    clearTimeout(resized);
    resized = setTimeout(refresh, 100);
  }).observe(area);

  if (!painter) {
    status.textContent = 'This browser offers no WebGL2: the panels show the pictures of the page, and neither zoom nor differ. ';
    panels.difference.figure.hidden = true;
    document.querySelector('.tools').hidden = true;
  }
  area.hidden = false;
  window.scalelabLive = {labels, score: (name, n, x, y) => score(models.get(name), n, x, y), 
    settled: async () => { for (let last = null; last !== settled;) { last = settled; await last; } },  // the latest, whatever came between
    view, webgl: painter !== null};
  refresh();
})();
