// The five pictures of the method as one Streamlit component: data.picture names the picture.

import { Cache } from "./cache.js";
import { Gate } from "./gate.js";
import { Keeps } from "./keeps.js";
import { Product } from "./product.js";
import { Sigmoid } from "./sigmoid.js";

const KINDS = { keeps: Keeps, gate: Gate, sigmoid: Sigmoid, product: Product, cache: Cache };

const made = new WeakMap();

function dark(parent) {
  const value = getComputedStyle(parent.host || parent)
    .getPropertyValue("--st-background-color")
    .trim();
  const m = value.match(/^#([0-9a-f]{2})([0-9a-f]{2})([0-9a-f]{2})$/i);
  return Boolean(m) && m.slice(1).reduce((sum, part) => sum + parseInt(part, 16), 0) < 384;
}

/** Streamlit component: made once; later calls only follow the theme. */
export default function component({ parentElement, data }) {
  let picture = made.get(parentElement);
  if (!picture?.box.isConnected) {
    picture = new KINDS[data.picture](parentElement, data);
    made.set(parentElement, picture);
  }
  picture.box.dataset.theme = dark(parentElement) ? "dark" : "light";
  picture.fit();
}
