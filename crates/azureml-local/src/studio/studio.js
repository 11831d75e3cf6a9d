// Keeps a page up to date: the server sends rendered parts and the text that is appended to the log.
// Without this script, the page stays in its initial state.
const MOST_OF_A_LOG = 1 << 19;

function put(place, html) {
  // Keeps the keyboard focus on its link or button.
  const held = place.contains(document.activeElement) ? document.activeElement.outerHTML : null;
  // Keeps the user's selection and the folded folders.
  const chosen = new Set([...place.querySelectorAll("input:checked")].map((one) => one.value));
  const folded = new Set([...place.querySelectorAll("details:not([open])")].map((one) => one.dataset.path));
  place.innerHTML = html;
  for (const one of place.querySelectorAll("input[type=checkbox]")) one.checked = chosen.has(one.value);
  for (const one of place.querySelectorAll("details")) one.open = !folded.has(one.dataset.path);
  if (held) [...place.querySelectorAll("a, button, [tabindex]")].find((one) => one.outerHTML === held)?.focus({ preventScroll: true });
}

for (const page of document.querySelectorAll("[data-events]")) {
  const events = new EventSource(page.dataset.events);
  events.addEventListener("part", (event) => {
    const part = JSON.parse(event.data);
    const place = page.querySelector(`[data-part="${part.name}"]`);
    if (place) put(place, part.html);
  });
  events.addEventListener("end", () => events.close());
  const log = page.querySelector("[data-log]");
  if (!log) continue;
  log.scrollTop = log.scrollHeight;
  const append = (text) => {
    const follow = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
    log.append(text);
    // Removes the beginning of a long log; the page of the file shows it.
    let size = log.textContent.length;
    while (size > MOST_OF_A_LOG && log.childNodes.length > 1) {
      size -= log.firstChild.textContent.length;
      log.firstChild.remove();
    }
    if (follow) log.scrollTop = log.scrollHeight;
  };
  events.addEventListener("log", (event) => append(JSON.parse(event.data)));
  events.addEventListener("skip", (event) => {
    append(`\n… ${log.dataset.log}\n`);
    append(JSON.parse(event.data));
  });
}
