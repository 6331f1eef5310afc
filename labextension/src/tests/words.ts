/** A translation bundle that translates nothing but fills in, as JupyterLab's does. */
import type { Words } from '../format';

const fill = (text: string, args: unknown[]) => text.replace(/%(\d+)/g, (_, index) => String(args[Number(index) - 1]));

export const words: Words = {
  __: (id, ...args) => fill(id, args),
  _n: (one, many, n, ...args) => fill(n === 1 ? one : many, [n, ...args])
};

export const seoul = { locale: 'en', timeZone: 'Asia/Seoul' };
