"use strict";

/** Packed data of a view by name: base64 of gzipped JSON; unpacked once, null where there is none. */
const unpacked = new Map();
function load(view, name) {
  const holder = view.querySelector(`:scope > script[data-name="${name}"]`);
  if (!holder) return Promise.resolve(null);
  if (!unpacked.has(holder)) unpacked.set(holder, unpack(holder.textContent));
  return unpacked.get(holder);
}

function unpack(text) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).json();
}

/** An element with attributes and children; text is always text, never markup. */
function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}
