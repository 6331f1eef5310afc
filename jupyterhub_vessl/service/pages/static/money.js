/* Money as the pages write it: two decimals and the unit. */

export function moneyText(micros, symbol, unit, plus = "") {
  const cents = Math.round(Math.abs(micros) / 10000);
  const whole = Math.floor(cents / 100).toLocaleString("en");
  const sign = micros < 0 && cents ? "−" : plus;
  return `${sign}${symbol}${whole}.${String(cents % 100).padStart(2, "0")}${unit}`;
}
