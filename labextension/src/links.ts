/** Links to ports and proposals of names. Pure. */
import type { Port } from './wire';

export const PORT_MIN = 1024;
export const PORT_MAX = 65535;
const NAME_CHARACTERS_MAX = 63;

/**
 * The absolute address of a link, or null when it would lead away from this site.
 *
 * What may be opened is a path on the page's own origin: never `javascript:`, never another host.
 */
export function siteLink(url: string | null, page: string): string | null {
  if (!url) {
    return null;
  }
  const [link, here] = [parsed(url, page), parsed(page)];
  return link && /^https?:$/.test(link.protocol) && link.origin === here?.origin ? link.href : null;
}

/**
 * The absolute address of the pages of the service, or null.
 *
 * Where everybody has a host name, the server extension leads to the hub's, which its own environment names.
 */
export function pagesLink(url: string | null | undefined, page: string): string | null {
  const isAbsolute = url && /^https?:\/\/[^/@\\]+\//i.test(url) && parsed(url);
  return isAbsolute ? url : siteLink(url ?? null, page);
}

function parsed(url: string, base?: string): URL | null {
  try {
    return new URL(url, base);
  } catch {
    return null;
  }
}

/** A name for a port that was found, as names are written (lower-case letters, digits, hyphens) and not yet taken. */
export function proposeName(port: Port, taken: readonly string[]): string {
  const base =
    port.process
      .toLowerCase()
      .replace(/\.[a-z]+$/, '')
      .replace(/[^a-z0-9]+/g, '-')
      .replace(/^-+|-+$/g, '')
      .slice(0, 40)
      .replace(/-+$/, '') || 'port';
  const names = [/^(python|node|java|sh|bash|port)[0-9-]*$/.test(base) ? `port-${port.port}` : base];
  names.push(`${names[0]}-${port.port}`);
  for (let number = 2; number < 50; number++) {
    names.push(`port-${port.port}-${number}`);
  }
  return names.find(name => name.length <= NAME_CHARACTERS_MAX && !taken.includes(name)) ?? `port-${port.port}`;
}

/** A whole number as it was typed, or null; what range it may have is for the service to say. */
export function typedPort(value: string): number | null {
  return /^\s*[0-9]{1,9}\s*$/.test(value) ? Number(value) : null;
}

/** The part of a form that an error's field means: `ports.web.port` → `port`. */
export function fieldOf<T extends string>(field: string, fields: readonly T[]): T | null {
  const parts = field.split('.').reverse();
  for (const part of parts) {
    const found = fields.find(name => name === part);
    if (found) {
      return found;
    }
  }
  return null;
}
