const WIDTH = 480, HEIGHT = 240, LEFT = 52, RIGHT = 12, TOP = 28, BOTTOM = 24;
const COLOURS = ["#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2", "#17becf"];

const node = (name, attributes, text) => {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
};
const finite = ([x, y]) => x !== null && y !== null;
const label = (value) => String(+value.toPrecision(4));

export default {
  initialize({ model }) {
    const append = (message) => {
      if (message.event !== "points") return;
      const series = { ...model.get("series") };
      for (const [name, { from, points }] of Object.entries(message.series)) {
        series[name] = [...(series[name] ?? []).slice(0, from), ...points];
      }
      model.set("series", series);
    };
    model.on("msg:custom", append);
    return () => model.off("msg:custom", append);
  },
  render({ model, el }) {
    const svg = node("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, width: WIDTH, height: HEIGHT, class: "notebook-widget", role: "img" });
    el.append(svg);
    const draw = () => {
      const series = Object.entries(model.get("series"));
      svg.replaceChildren(
        node("title", {}, model.get("label")),
        node("text", { x: LEFT, y: 16, "font-weight": "bold" }, model.get("label")),
      );
      const points = series.flatMap(([, points]) => points.filter(finite));
      if (!points.length) return;
      let [left, right, low, high] = [Infinity, -Infinity, Infinity, -Infinity];
      for (const [x, y] of points) {
        left = Math.min(left, x); right = Math.max(right, x);
        low = Math.min(low, y); high = Math.max(high, y);
      }
      const across = (x) => LEFT + ((x - left) / (right - left || 1)) * (WIDTH - LEFT - RIGHT);
      const up = (y) => HEIGHT - BOTTOM - ((y - low) / (high - low || 1)) * (HEIGHT - TOP - BOTTOM);
      for (let step = 0; step <= 4; step++) {
        const y = low + ((high - low) * step) / 4;
        svg.append(
          node("line", { x1: LEFT, x2: WIDTH - RIGHT, y1: up(y), y2: up(y), stroke: "currentColor", "stroke-opacity": 0.15 }),
          node("text", { x: LEFT - 6, y: up(y) + 4, "text-anchor": "end" }, label(y)),
        );
      }
      svg.append(
        node("text", { x: LEFT, y: HEIGHT - 6 }, label(left)),
        node("text", { x: WIDTH - RIGHT, y: HEIGHT - 6, "text-anchor": "end" }, label(right)),
      );
      let legend = WIDTH - RIGHT;
      series.forEach(([name, points], index) => {
        const colour = COLOURS[index % COLOURS.length];
        let pen = "M";
        let path = "";
        for (const point of points) {
          if (!finite(point)) { pen = "M"; continue; }
          path += `${pen}${across(point[0]).toFixed(1)} ${up(point[1]).toFixed(1)}`;
          pen = "L";
        }
        svg.append(node("path", { d: path, fill: "none", stroke: colour, "stroke-width": 1.5 }));
        if (points.length === 1 && finite(points[0])) {
          svg.append(node("circle", { cx: across(points[0][0]), cy: up(points[0][1]), r: 2.5, fill: colour }));
        }
        const key = node("text", { x: legend, y: 16, "text-anchor": "end" });
        key.append(node("tspan", { fill: colour }, "● "), name);
        svg.append(key);
        legend -= 24 + 7 * name.length;
      });
    };
    const keys = ["label", "series"];
    for (const key of keys) model.on(`change:${key}`, draw);
    draw();
    return () => {
      for (const key of keys) model.off(`change:${key}`, draw);
    };
  },
};
