/** Opening a port: in a new browser tab, or inside JupyterLab. */
import { Dialog, InputDialog, MainAreaWidget, showDialog } from '@jupyterlab/apputils';
import { IFrame } from '@jupyterlab/ui-components';

import type { Context } from './context';
import { openIcon } from './icons';
import { siteLink } from './links';
import type { OpenIn } from './tokens';
import type { Port } from './wire';

/** How a port is called: its name, or its number when it has none. */
export function portTitle(port: Port, context: Context): string {
  return port.name || context.trans.__('Port %1', port.port);
}

/** Open one of the port's links; does nothing for what has none. */
export function openPort(port: Port, url: string | null, where: OpenIn, context: Context): void {
  const link = siteLink(url, document.baseURI);
  if (!link) {
    return;
  }
  if (where === 'tab') {
    window.open(link, '_blank', 'noopener,noreferrer');
    return;
  }
  const content = new IFrame({
    // The app lives on the page's own origin, where its cookies are needed to reach it at all, so the sandbox cannot
    // hide the page from it; what it can do is keep the app from taking JupyterLab's tab away.
    sandbox: [
      'allow-downloads',
      'allow-forms',
      'allow-modals',
      'allow-popups',
      'allow-popups-to-escape-sandbox',
      'allow-same-origin',
      'allow-scripts'
    ] as IFrame.SandboxExceptions[],
    referrerPolicy: 'no-referrer'
  });
  content.url = link;
  const title = portTitle(port, context);
  content.node.querySelector('iframe')?.setAttribute('title', title);
  const widget = new MainAreaWidget({ content });
  widget.id = `vessl-port-${port.port}-${opened++}`;
  widget.title.label = title;
  widget.title.caption = link;
  widget.title.icon = openIcon;
  widget.title.closable = true;
  context.app.shell.add(widget, 'main');
  context.app.shell.activateById(widget.id);
}

let opened = 0;

/** Let the person choose one of the ports that can be opened. */
export async function choosePort(context: Context): Promise<Port | null> {
  const { model, trans } = context;
  await model.refresh();
  const ports = (model.status?.ports ?? []).filter(port => port.url);
  if (!ports.length) {
    await showDialog({
      title: trans.__('No port to open'),
      body: trans.__(
        'No program of this workspace listens on a port yet. Start one, such as: python -m http.server 3000'
      ),
      buttons: [Dialog.okButton()]
    });
    return null;
  }
  const labels = ports.map(port =>
    port.name
      ? trans.__('%1: %2 (%3)', port.port, port.name, port.listening ? trans.__('listening') : trans.__('not yet'))
      : trans.__('%1 (listening)', port.port)
  );
  const chosen = await InputDialog.getItem({
    title: trans.__('Open a port'),
    label: trans.__('Port'),
    items: labels,
    okLabel: trans.__('Open')
  });
  return chosen.button.accept ? (ports[labels.indexOf(chosen.value ?? '')] ?? null) : null;
}
