export default {
  render({ model, el }) {
    const label = document.createElement("label");
    const name = document.createElement("span");
    const select = document.createElement("select");
    label.className = "notebook-widget";
    label.append(name, select);
    el.append(label);
    const draw = () => {
      name.textContent = model.get("label");
      select.replaceChildren(...model.get("options").map((text) => new Option(text, text)));
      select.value = model.get("value");
    };
    select.addEventListener("change", () => {
      model.set("value", select.value);
      model.save_changes();
    });
    for (const key of ["label", "options", "value"]) model.on(`change:${key}`, draw);
    draw();
    return () => {
      for (const key of ["label", "options", "value"]) model.off(`change:${key}`, draw);
    };
  },
};
