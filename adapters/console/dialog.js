// A confirmation before anything is changed; failures stay in the dialog, in words.
import { fill, h } from "./dom.js";

export function confirm({ title, text, fields = [], act, label, danger = false }) {
  return new Promise((done) => {
    const said = h("div", {});
    const submit = h("button", { type: "submit", class: danger ? "danger" : "primary" }, label);
    const close = h("button", { type: "button", onclick: () => dialog.close() }, "Keep as it is");
    const form = h("form", { method: "dialog" },
      h("h2", { id: "dialog-title" }, title), h("p", {}, text), fields, said,
      h("div", { class: "buttons" }, close, submit));
    const dialog = h("dialog", { "aria-labelledby": "dialog-title", onclose: () => { dialog.remove(); done(dialog.result); } }, form);
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      submit.disabled = true;
      fill(said);
      try {
        dialog.result = await act() ?? true;
        dialog.close();
      } catch (error) {
        fill(said, h("p", { class: "problem", role: "alert" }, error.message));
      }
      submit.disabled = false;
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}
