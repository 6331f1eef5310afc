/* What a size costs, while it is typed.  The form works without it: the server says the price when it is asked. */
import { moneyText } from "./money.js";

const KIB = 1024;
const BYTES = { Ki: KIB, Mi: KIB ** 2, Gi: KIB ** 3, Ti: KIB ** 4, K: 1e3, M: 1e6, G: 1e9, T: 1e12 };
const SIZE = /^(\d{1,9}(?:\.\d{1,3})?)(Ki|Mi|Gi|Ti|K|M|G|T)$/;

for (const part of document.querySelectorAll(".vessl-size")) {
  const input = part.querySelector("input");
  const sum = part.querySelector("output");
  if (!sum) continue;
  const { pricePerGib, symbol, unit } = part.dataset;
  const show = () => {
    const match = SIZE.exec(input.value.trim());
    const micros = match ? (Number(pricePerGib) * Number(match[1]) * BYTES[match[2]]) / KIB ** 3 : 0;
    sum.textContent = micros > 0 ? `${moneyText(micros, symbol, unit)} a month` : "";
  };
  input.addEventListener("input", show);
  show();
}
