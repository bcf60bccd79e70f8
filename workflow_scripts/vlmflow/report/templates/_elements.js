"use strict";
// What the scripts of all pages share.
function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}
function bytes(text) { return Uint8Array.from(atob(text), (c) => c.charCodeAt(0)); }
