export default {
  render({ model, el }) {
    const label = document.createElement("label");
    const name = document.createElement("span");
    const bar = document.createElement("progress");
    const output = document.createElement("output");
    label.className = "notebook-widget";
    label.append(name, bar, output);
    el.append(label);
    const draw = () => {
      name.textContent = model.get("label");
      bar.max = model.get("total") || 1;
      bar.value = model.get("value");
      output.textContent = `${model.get("value")} / ${model.get("total")}`;
    };
    for (const key of ["label", "total", "value"]) model.on(`change:${key}`, draw);
    draw();
    return () => {
      for (const key of ["label", "total", "value"]) model.off(`change:${key}`, draw);
    };
  },
};
