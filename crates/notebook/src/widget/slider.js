export default {
  render({ model, el }) {
    const label = document.createElement("label");
    const name = document.createElement("span");
    const input = document.createElement("input");
    const output = document.createElement("output");
    label.className = "notebook-widget";
    input.type = "range";
    label.append(name, input, output);
    el.append(label);
    const draw = () => {
      name.textContent = model.get("label");
      for (const key of ["min", "max", "step"]) input[key] = model.get(key);
      input.value = model.get("value");
      output.textContent = String(+model.get("value").toPrecision(6));
    };
    input.addEventListener("input", () => {
      model.set("value", Number(input.value));
      model.save_changes();
    });
    for (const key of ["label", "min", "max", "step", "value"]) model.on(`change:${key}`, draw);
    draw();
    return () => {
      for (const key of ["label", "min", "max", "step", "value"]) model.off(`change:${key}`, draw);
    };
  },
};
