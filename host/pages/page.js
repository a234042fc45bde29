// Draws the charts of a page from their descriptions, and makes its pictures enlarge and its measures switch.
//
// A chart is a <canvas> in a .chart, before it a <script type="application/json" class="description">: see chart_html
// in page.cpp. Charts are drawn by Chart.js 3 or later; without it the tables beside them are opened instead.
'use strict';
(function () {
  const dialog = document.getElementById('large');
  for (const button of document.querySelectorAll('.zoom')) {
    button.addEventListener('click', () => {
      const image = button.querySelector('img');
      dialog.querySelector('img').src = image.src;
      dialog.querySelector('img').alt = image.alt;
      dialog.querySelector('p').textContent = image.alt;
      dialog.showModal();
    });
  }
  dialog.addEventListener('click', (event) => {
    if (event.target === dialog || event.target.tagName === 'BUTTON') dialog.close();
  });

  const root = document.documentElement;
  const css = (name) => getComputedStyle(root).getPropertyValue(name).trim();
  const transparent = (colour, alpha) => colour + Math.round(255 * alpha).toString(16).padStart(2, '0');
  const short = (value) => {
    const size = Math.abs(value);
    if (size >= 1e9) return +(value / 1e9).toPrecision(3) + 'G';
    if (size >= 1e6) return +(value / 1e6).toPrecision(3) + 'M';
    if (size >= 1000) return +(value / 1000).toPrecision(3) + 'k';
    return String(+value.toPrecision(3));
  };
  // With the prefix of a unit: 0.00002 and "s" are "20 µs".
  const prefixed = (value, unit, digits) => {
    const power = value === 0 ? 0 : Math.max(-4, Math.min(5, Math.floor(Math.log10(Math.abs(value) * 1.0000001) / 3)));
    return +(value / 1000 ** power).toPrecision(digits) + ' ' + ['p', 'n', 'µ', 'm', '', 'k', 'M', 'G', 'T', 'P'][power + 4] + unit;
  };
  const tickText = (axis, value) => axis.percent ? +(100 * value).toPrecision(2) + ' %'
                                                 : axis.unit ? prefixed(value, axis.unit, 3) : short(value);
  const exactText = (axis, value) => axis.percent ? (100 * value).toPrecision(3) + ' %'
                                                  : axis.unit ? prefixed(value, axis.unit, 4)
                                                  : Number.isInteger(value) ? value.toLocaleString('en')
                                                                            : String(+value.toPrecision(4));

  // Values of an axis where its labels stand, `most` of them at the most.
  function logarithmicTicks(low, high, most) {
    for (const [steps, stride] of [[[1, 1.5, 2, 3, 4, 5, 7], 1], [[1, 2, 5], 1], [[1, 3], 1], [[1], 1], [[1], 2], [[1], 3]]) {
      const ticks = [];
      for (let p = Math.floor(Math.log10(low)); p <= Math.ceil(Math.log10(high)); ++p) {
        if (p % stride !== 0) continue;
        for (const s of steps) if (s * 10 ** p >= low * .999 && s * 10 ** p <= high * 1.001) ticks.push(s * 10 ** p);
      }
      if (ticks.length <= most) return ticks;
    }
    return [low, high];
  }
  function thinned(ticks, most) {
    const stride = Math.ceil(ticks.length / Math.max(1, most));
    return ticks.filter((tick, i) => i % stride === 0);
  }

  function scale(axis, values, length, horizontal) {
    const most = Math.max(2, Math.floor(length / (horizontal ? 62 : 34)));
    const finite = values.filter((v) => Number.isFinite(v) && (!axis.logarithmic || v > 0));
    let low = Math.min(...finite), high = Math.max(...finite), ticks = axis.ticks && thinned(axis.ticks, most);
    if (axis.logarithmic) {
      const room = Math.max(1.12, (high / low) ** .05);
      low /= room;
      high *= room;
      if (!ticks) ticks = logarithmicTicks(low, high, most);
    } else {
      const room = .06 * (high - low || Math.abs(high) || 1);
      if (axis.zero) low = Math.min(0, low);
      if (!(axis.zero && low === 0)) low -= room;
      high += room;
    }
    return {
      type: axis.logarithmic ? 'logarithmic' : 'linear', min: low, max: high,
      title: {display: true, text: axis.title, color: css('--soft')},
      grid: {color: (context) => axis.zeroLine && context.tick.value === 0 ? css('--soft') : css('--grid')},
      ticks: {color: css('--soft'), callback: (value) => tickText(axis, value), autoSkip: !ticks, includeBounds: false, maxRotation: 0, maxTicksLimit: most},
      afterBuildTicks: ticks && ((built) => { built.ticks = ticks.map((value) => ({value})); }),
    };
  }

  // Intervals of marks as upright strokes; held-out sizes as dashed lines with what they mean beside the last of them.
  const decorations = {
    id: 'decorations',
    afterDatasetsDraw(chart) {
      const context = chart.ctx, area = chart.chartArea, {x, y} = chart.scales;
      context.save();
      context.beginPath();
      context.rect(area.left, area.top, area.right - area.left, area.bottom - area.top);
      context.clip();
      chart.data.datasets.forEach((set, i) => {
        if (!set.intervals || !chart.isDatasetVisible(i)) return;
        context.strokeStyle = set.borderColor;
        context.lineWidth = 1.5;
        for (const mark of set.data) {
          if (mark.low === null || mark.high === null) continue;
          const at = x.getPixelForValue(mark.x), bottom = y.options.type === 'logarithmic' && mark.low <= 0 ? area.bottom : y.getPixelForValue(mark.low);
          context.beginPath();
          context.moveTo(at, bottom);
          context.lineTo(at, y.getPixelForValue(mark.high));
          context.stroke();
        }
      });
      const held = chart.options.held;
      context.strokeStyle = context.fillStyle = css('--soft');
      context.lineWidth = 1;
      context.setLineDash([2, 3]);
      for (const value of held) {
        const at = x.getPixelForValue(value);
        context.beginPath();
        context.moveTo(at, area.top);
        context.lineTo(at, area.bottom);
        context.stroke();
      }
      if (held.length > 0) {
        context.font = '12px ' + Chart.defaults.font.family;
        context.textAlign = 'right';
        context.fillText('held out: predicted, then measured', x.getPixelForValue(Math.max(...held)) - 6, area.top + 14);
      }
      context.restore();
    },
  };

  // Everything of one series carries its name; labels that begin with ~ stand in no legend.
  function datasets(description) {
    const sets = [], named = new Set();
    const label = (name) => {
      if (!name || named.has(name)) return '~' + name;
      named.add(name);
      return name;
    };
    for (const line of description.lines) {
      const colour = css('--' + line.colour), base = {borderColor: colour, pointStyle: line.shape};
      const point = (mark) => ({x: mark[0], y: mark[1], low: mark[2], high: mark[3], note: mark[4] || ''});
      sets.push({...base, label: label(line.name), type: line.joined ? 'line' : 'scatter', data: line.marks.map(point), intervals: true,
                 backgroundColor: line.hollow ? css('--card') : colour, borderWidth: line.thin ? 1 : 2,
                 borderDash: line.dashed ? [5, 4] : [], order: line.control ? 3 : 2,
                 pointRadius: line.bare ? 0 : line.joined ? 3.5 : line.marks.length > 100 ? 2.5 : 7, pointHoverRadius: line.bare ? 0 : line.joined ? 6 : 9});
      if (line.samples.length > 0) {
        sets.push({...base, label: label(line.name), type: 'scatter', data: line.samples.map(point), borderWidth: 0, pointRadius: 2,
                   backgroundColor: transparent(colour, line.samples.length > 200 ? .2 : .4), order: 4});
      }
      const law = line.law;
      if (!law) continue;
      const curve = {type: 'line', pointRadius: 0, pointHoverRadius: 0, pointHitRadius: 0, order: 5};
      sets.push({...curve, label: label(line.name), data: law.curve.map((m) => ({x: m[0], y: m[3]})), borderWidth: 0,
                 backgroundColor: transparent(colour, .16), fill: '+1'});
      sets.push({...curve, label: label(line.name), data: law.curve.map((m) => ({x: m[0], y: m[2]})), borderWidth: 0, fill: false});
      sets.push({...curve, label: label(line.name), data: law.curve.map((m) => ({x: m[0], y: m[1]})), borderColor: colour,
                 borderWidth: 1.25, borderDash: [2, 2], fill: false});
      if (law.held) {
        sets.push({...base, label: label(line.name), type: 'scatter', intervals: true, pointStyle: 'rectRot', pointRadius: 8, pointHoverRadius: 10,
                   backgroundColor: transparent(colour, .1), borderWidth: 2, order: 1,
                   data: [{x: law.held[0], y: law.held[1], low: law.held[2], high: law.held[3], note: 'predicted by the law'}]});
      }
    }
    return sets;
  }

  const legend = {
    position: 'bottom',
    labels: {usePointStyle: true, boxHeight: 8, padding: 14, filter: (item) => !item.text.startsWith('~')},
    onClick: (event, item, box) => {
      const chart = box.chart, show = !chart.isDatasetVisible(item.datasetIndex);
      chart.data.datasets.forEach((set, i) => { if (set.label.replace('~', '') === item.text) chart.setDatasetVisibility(i, show); });
      chart.update();
    },
  };

  function drawChart(canvas) {
    const description = JSON.parse(canvas.parentElement.querySelector('.description').textContent);
    const xs = [], ys = [], held = new Set();
    for (const line of description.lines) {
      for (const mark of [...line.marks, ...line.samples]) { xs.push(mark[0]); ys.push(mark[1]); }
      for (const mark of line.marks) for (const end of [mark[2], mark[3]]) if (end !== null) ys.push(end);
      if (!line.law) continue;
      for (const mark of line.law.curve) { xs.push(mark[0]); ys.push(mark[1]); }
      if (line.law.held) held.add(line.law.held[0]);
    }
    // An interval that reaches far below everything measured must not flatten the rest.
    const least = Math.min(...description.lines.flatMap((line) => [...line.marks, ...line.samples].map((mark) => mark[1])).filter((y) => y > 0));
    const shown = description.y.logarithmic ? ys.filter((y) => y >= least / 3) : ys;
    const {x, y} = description;
    return new Chart(canvas, {
      data: {datasets: datasets(description)},
      plugins: [decorations],
      options: {
        held: [...held], maintainAspectRatio: false, animation: false, interaction: {mode: 'nearest', intersect: true},
        scales: {x: scale(x, xs, canvas.parentElement.clientWidth, true), y: scale(y, shown, canvas.parentElement.clientHeight, false)},
        plugins: {
          legend: {...legend, display: description.lines.some((line) => line.name), labels: {...legend.labels, color: css('--ink')}},
          tooltip: {callbacks: {
            title: () => '',
            label: (item) => {
              const {raw} = item, interval = Number.isFinite(raw.low) && Number.isFinite(raw.high) && raw.low !== null
                ? ` (${exactText(y, raw.low)} to ${exactText(y, raw.high)})` : '';
              return [item.dataset.label.replace('~', ''), `${x.short} = ${exactText(x, raw.x)}`, raw.note,
                      exactText(y, raw.y) + interval].filter((text) => text).join(', ');
            }}},
        },
      },
    });
  }

  const drawable = typeof Chart === 'function' && parseInt(Chart.version, 10) >= 3;
  const canvases = [...document.querySelectorAll('.chart canvas')];
  let charts = [];
  function draw() {
    if (!drawable) return;
    for (const chart of charts) chart.destroy();
    Chart.defaults.font.family = getComputedStyle(document.body).fontFamily;
    Chart.defaults.font.size = 13;
    charts = canvases.filter((canvas) => canvas.offsetParent !== null).map(drawChart);
  }
  if (!drawable) {
    for (const canvas of canvases) {
      canvas.parentElement.hidden = true;
      canvas.closest('.panel').querySelector('details').open = true;
    }
  }
  for (const button of document.querySelectorAll('[data-choose]')) {
    button.addEventListener('click', () => {
      document.body.dataset.measure = button.dataset.choose;
      for (const other of document.querySelectorAll('[data-choose]')) {
        other.setAttribute('aria-pressed', String(other.dataset.choose === button.dataset.choose));
      }
      draw();
    });
  }
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', draw);
  window.addEventListener('beforeprint', () => { root.classList.add('print'); draw(); });
  window.addEventListener('afterprint', () => { root.classList.remove('print'); draw(); });
  draw();
})();
