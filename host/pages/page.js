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

  // The command goes to the clipboard, or where that is out of reach, is selected.
  const copy = document.getElementById('copy');
  if (copy) {
    const command = copy.parentElement.previousElementSibling;
    copy.hidden = false;
    copy.addEventListener('click', async () => {
      try {
        await navigator.clipboard.writeText(command.textContent);
        copy.textContent = 'copied';
      } catch (refused) {
        getSelection().selectAllChildren(command);
        copy.textContent = document.execCommand('copy') ? 'copied' : 'selected: copy it with Ctrl-C';
      }
    });
  }

  // Tables are sorted by a click on a head: numbers by value, the largest first, then the other way round.
  const valueOf = (row, column) => row.cells[column] ? row.cells[column].textContent.trim() : '';
  const numberOf = (text) => /^[-+\u2212]?[0-9]/.test(text) ? parseFloat(text.replace('\u2212', '-').replace(/,(?=[0-9]{3})/g, '')) : NaN;
  function sortBy(head) {
    const table = head.closest('table'), column = head.cellIndex, body = table.tBodies[0];
    const rows = [...body.rows], numbers = head.classList.contains('number');
    const up = head.getAttribute('aria-sort') === (numbers ? 'descending' : 'none');
    for (const other of table.tHead.rows[0].cells) other.setAttribute('aria-sort', 'none');
    head.setAttribute('aria-sort', up ? 'ascending' : 'descending');
    const compare = (a, b) => {
      const [p, q] = [a, b].map((row) => valueOf(row, column));
      if (!numbers) return p.localeCompare(q, 'en', {numeric: true});
      const [x, y] = [p, q].map(numberOf);
      return Number.isNaN(x) ? (Number.isNaN(y) ? 0 : up ? 1 : -1) : Number.isNaN(y) ? (up ? -1 : 1) : x - y;
    };
    rows.sort((a, b) => up ? compare(a, b) : compare(b, a));
    body.append(...rows);
  }
  for (const table of document.querySelectorAll('.scroll table:not(.map)')) {
    if (!table.tHead || !table.tBodies[0] || table.tBodies[0].rows.length < 3) continue;
    for (const head of table.tHead.rows[0].cells) {
      head.setAttribute('aria-sort', 'none');
      head.tabIndex = 0;
      head.title = 'sort';
      head.addEventListener('click', () => sortBy(head));
      head.addEventListener('keydown', (event) => {
        if (event.key !== 'Enter' && event.key !== ' ') return;
        event.preventDefault();
        sortBy(head);
      });
    }
  }

  // A cell that names a colour shows it.
  for (const cell of document.querySelectorAll('td')) {
    if (!/^#[0-9a-f]{6}$/.test(cell.textContent)) continue;
    const swatch = document.createElement('i');
    swatch.className = 'swatch';
    swatch.style.background = cell.textContent;
    cell.prepend(swatch);
  }

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

  // exact: the two ends of what a ground shows.
  function scale(axis, values, length, horizontal, exact) {
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
    if (exact) [low, high] = exact;
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

  // The picture below the marks, fetched once for a canvas, and the names on it.
  const pictures = new Map();
  function groundOf(canvas, ground) {
    return {
      id: 'ground',
      beforeDatasetsDraw(chart) {
        if (!pictures.has(canvas)) {
          const picture = new Image();
          picture.onload = draw;
          picture.src = ground.picture;
          pictures.set(canvas, picture);
        }
        const {left, top, right, bottom} = chart.chartArea, picture = pictures.get(canvas);
        if (picture.complete && picture.naturalWidth > 0) chart.ctx.drawImage(picture, left, top, right - left, bottom - top);
      },
      afterDatasetsDraw(chart) {
        const context = chart.ctx, {x, y} = chart.scales;
        context.save();
        context.font = '600 13px ' + Chart.defaults.font.family;
        context.textAlign = 'center';
        context.textBaseline = 'middle';
        context.lineJoin = 'round';
        context.lineWidth = 4;
        context.strokeStyle = 'rgb(255 255 255 / .85)';
        context.fillStyle = '#1c1c1a';
        for (const name of ground.names) {
          const at = [x.getPixelForValue(name.x), y.getPixelForValue(name.y)];
          context.strokeText(name.text, ...at);
          context.fillText(name.text, ...at);
        }
        context.restore();
      },
    };
  }
  // Gives a chart with a ground the size at which a unit is as long on both axes; at most so tall.
  function fitGround(chart, box, ground) {
    const ratio = ground.equal ? (ground.y[1] - ground.y[0]) / (ground.x[1] - ground.x[0]) : .75, tallest = 680;
    for (let pass = 0; pass < 2; ++pass) {  // the legend may wrap at the new width
      const {left, top, right, bottom} = chart.chartArea, beside = chart.width - (right - left), below = chart.height - (bottom - top);
      const width = Math.min(box.parentElement.clientWidth - beside - 2 * parseFloat(getComputedStyle(box.parentElement).paddingLeft), tallest / ratio);
      box.style.width = Math.floor(width + beside) + 'px';
      box.style.height = Math.round(width * ratio + below) + 'px';
      chart.resize();
    }
  }

  // Everything of one series carries its name; labels that begin with ~ stand in no legend.
  function datasets(description) {
    const sets = [], named = new Set();
    const label = (name) => {
      if (!name || named.has(name)) return '~' + name;
      named.add(name);
      return name;
    };
    const many = description.lines.reduce((sum, line) => sum + (line.joined ? 0 : line.marks.length), 0) > 100;
    for (const line of description.lines) {
      const colour = line.colour.startsWith('#') ? line.colour : css('--' + line.colour);
      const base = {borderColor: description.ground ? '#fff' : colour, pointStyle: line.shape};
      const point = (mark) => ({x: mark[0], y: mark[1], low: mark[2], high: mark[3], note: mark[4] || ''});
      sets.push({...base, label: label(line.name), type: line.bars ? 'bar' : line.joined ? 'line' : 'scatter', data: line.marks.map(point), intervals: true,
                 ...(line.bars ? {grouped: false, barPercentage: 1, categoryPercentage: .92} : {}),
                 backgroundColor: line.hollow ? css('--card') : colour, borderWidth: line.bars ? 0 : line.thin || (description.ground && many) ? 1 : 2,
                 borderDash: line.dashed ? [5, 4] : [], order: line.control ? 3 : 2,
                 pointRadius: line.bare ? 0 : line.joined ? 3.5 : many ? (description.ground && innerWidth > 640 ? 3.5 : 2.5) : 7, pointHoverRadius: line.bare ? 0 : line.joined ? 6 : 9});
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
    const {x, y, ground} = description, box = canvas.parentElement;
    if (ground) box.style.width = box.style.height = '';
    const chart = new Chart(canvas, {
      data: {datasets: datasets(description)},
      plugins: ground ? [decorations, groundOf(canvas, ground)] : [decorations],
      options: {
        held: [...held], maintainAspectRatio: false, animation: false, interaction: {mode: 'nearest', intersect: true},
        scales: {x: scale(x, xs, box.clientWidth, true, ground && ground.x), y: scale(y, shown, box.clientHeight, false, ground && ground.y)},
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
    if (ground) fitGround(chart, box, ground);
    return chart;
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
  let resized = 0;
  if (document.querySelector('.chart.ground')) {  // the others follow by themselves
    window.addEventListener('resize', () => { clearTimeout(resized); resized = setTimeout(draw, 100); });
  }
  window.addEventListener('beforeprint', () => { root.classList.add('print'); draw(); });
  window.addEventListener('afterprint', () => { root.classList.remove('print'); draw(); });
  draw();
})();
