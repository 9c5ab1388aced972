"use strict";

/* The address of the page: "#view?name=value&...". A link reproduces what is shown. */

/** The id of the view and the settings that the address holds. */
function readAddress() {
  const [id, ...rest] = location.hash.slice(1).split("?");
  return { id, settings: new URLSearchParams(rest.join("?")) };
}

function setting(name) {
  return readAddress().settings.get(name) ?? "";
}

/** The values of a setting that holds several. */
function listed(name) {
  return setting(name).split(",").filter(Boolean);
}

/** Change settings in the address; empty ones are left out of it. */
function remember(changes) {
  const { id, settings } = readAddress();
  for (const [name, value] of Object.entries(changes)) {
    if (value === "" || value === null) settings.delete(name);
    else settings.set(name, value);
  }
  const shown = id || document.querySelector("main > .view").id;
  history.replaceState(null, "", addressOf(shown, settings));
  renewLinks(settings);
}

function addressOf(id, settings) {
  const text = settings.toString().replaceAll("%2C", ",");
  return `#${id}${text ? `?${text}` : ""}`;
}

/** Links to other views keep the settings. */
function renewLinks(settings) {
  for (const link of document.querySelectorAll("a[data-view]")) {
    link.setAttribute("href", addressOf(link.dataset.view, settings));
  }
}

function linkTo(id, text) {
  return make("a", { "data-view": id, href: addressOf(id, readAddress().settings) }, text);
}
