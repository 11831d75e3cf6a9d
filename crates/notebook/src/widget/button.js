export default {
  render({ model, el }) {
    const button = document.createElement("button");
    button.className = "notebook-widget";
    el.append(button);
    const draw = () => {
      button.textContent = model.get("label");
      button.disabled = model.get("disabled");
    };
    button.addEventListener("click", () => model.send({ event: "click" }));
    for (const key of ["label", "disabled"]) model.on(`change:${key}`, draw);
    draw();
    return () => {
      for (const key of ["label", "disabled"]) model.off(`change:${key}`, draw);
    };
  },
};
