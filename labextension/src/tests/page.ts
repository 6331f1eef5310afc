/**
 * Enough of a browser and of JupyterLab to load the modules that need them; import it before those.
 *
 * What draws is the real React; icons are empty, and no widget has a node.
 */
import Module from 'node:module';
import React from 'react';

const listeners = new Set<() => void>();

/** The page's document, as far as the modules ask for it. */
export const page = {
  hidden: false,
  baseURI: 'https://hub.example/user/mia/lab',
  activeElement: null as unknown,
  body: {},
  addEventListener: (_: string, listener: () => void) => void listeners.add(listener),
  removeEventListener: (_: string, listener: () => void) => void listeners.delete(listener),
  /** The person comes back to the tab. */
  isLookedAt: () => listeners.forEach(listener => listener())
};
Object.assign(globalThis, { document: page });

class ReactWidget {
  readonly node = {};
  addClass(): void {}
  update(): void {}
}

const icon = { react: () => React.createElement('i') };
const widgets = { Menu: class {}, Widget: class {}, CommandRegistry: class {} };
const ui = { ReactWidget, LabIcon: class { readonly react = icon.react; } };
const stubs: Record<string, object> = {
  '@jupyterlab/ui-components': new Proxy(ui, { get: (known, name) => Reflect.get(known, name) ?? icon }),
  '@jupyterlab/apputils': {},
  '@lumino/commands': widgets,
  '@lumino/widgets': widgets
};

const loader = Module as unknown as { _load: (id: string, ...rest: unknown[]) => unknown };
const load = loader._load;
loader._load = (id, ...rest) => stubs[id] ?? load(id, ...rest);
