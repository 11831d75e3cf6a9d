// Keeps a page up to date: the server sends parts of it, rendered, and what is appended to the log. Without this the page is as it was loaded.
for (const page of document.querySelectorAll("[data-events]")) {
  const events = new EventSource(page.dataset.events);
  events.addEventListener("part", (event) => {
    const part = JSON.parse(event.data);
    const place = page.querySelector(`[data-part="${part.name}"]`);
    // A button that somebody is about to press stays where it is.
    if (place && !place.contains(document.activeElement)) place.innerHTML = part.html;
  });
  const log = page.querySelector("[data-log]");
  const atEnd = () => log.scrollHeight - log.scrollTop - log.clientHeight < 40;
  if (log) log.scrollTop = log.scrollHeight;
  events.addEventListener("log", (event) => {
    const follow = atEnd();
    log.append(JSON.parse(event.data));
    // What is far above can be had by the file's own page.
    while (log.childNodes.length > 400) log.firstChild.remove();
    if (follow) log.scrollTop = log.scrollHeight;
  });
  events.addEventListener("end", () => events.close());
}
