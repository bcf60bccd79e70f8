// Menus of figures: one variant and one model at a time; images of other models are unpacked when they are chosen.
function unpacked(packed) {
  return new Response(new Blob([bytes(packed)]).stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
}
async function unpack(image) {
  if (image.src) return;
  const chosen = matchMedia("(max-width: 600px)").matches ? image.dataset.narrow : image.dataset.wide;
  image.src = URL.createObjectURL(new Blob([await unpacked(chosen)], { type: image.dataset.kind }));
}
function show(block) {
  const [variant, model] = ["variant", "model"].map((name) => block.querySelector(`[data-menu=${name}]`));
  block.querySelectorAll(".variant").forEach((part, number) => {
    part.hidden = variant !== null && number !== Number(variant.value);
    // Beside all models together, the table has the numbers.
    for (const text of part.querySelectorAll("p[data-model]")) text.hidden = model !== null && text.dataset.model !== model.value;
    for (const figure of part.querySelectorAll("figure[data-model]")) {
      figure.hidden = model !== null && figure.dataset.model !== model.value;
      if (!part.hidden && !figure.hidden) figure.querySelectorAll("img[data-wide]").forEach(unpack);
    }
  });
  showTasks(block);
}
// A figure's drawing is read for its tasks only when it comes into view.
const offered = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (!isIntersecting) continue;
    offered.unobserve(target);
    offerTasks(target);
  }
}, { rootMargin: "600px" });
for (const block of document.querySelectorAll(".block")) {
  block.addEventListener("change", () => show(block));
  show(block);
  offered.observe(block);
}
// What stands behind a claim opens on a click; without scripts, all of it is open.
function toggle(button, open) {
  button.setAttribute("aria-expanded", String(open));
  document.getElementById(button.getAttribute("aria-controls")).hidden = !open;
}
for (const button of document.querySelectorAll("table.claims button")) {
  toggle(button, false);
  button.addEventListener("click", () => toggle(button, button.getAttribute("aria-expanded") === "false"));
}
// A link to a figure or a claim opens it.
function reveal() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (target === null) return;
  if (target.matches(".variant")) {
    const block = target.closest(".block");
    const menu = block.querySelector("[data-menu=variant]");
    if (menu !== null) menu.value = [...block.querySelectorAll(".variant")].indexOf(target);
    show(block);
  }
  const button = target.querySelector(":scope > tr > .about > button");
  if (button !== null) toggle(button, true);
  target.scrollIntoView();
}
addEventListener("hashchange", reveal);
reveal();
// Paper has no menus: all of the page is printed as it is shown, with every claim and table open.
addEventListener("beforeprint", () => {
  document.querySelectorAll("details").forEach((each) => { each.open = true; });
});
