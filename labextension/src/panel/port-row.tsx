/** One port: what it is, whether something listens, and its ways to open it. */
import { Clipboard } from '@jupyterlab/apputils';
import { addIcon, copyIcon, ellipsesIcon, type LabIcon } from '@jupyterlab/ui-components';
import { CommandRegistry } from '@lumino/commands';
import { Menu } from '@lumino/widgets';
import React from 'react';

import type { Context } from '../context';
import { proposeName, siteLink } from '../links';
import { openPort, portTitle } from '../opening';
import type { Port } from '../wire';
import { headingId, Refusal, useDoing } from './parts';

const PORTS_HEADING_ID = headingId('ports');

interface RowProps {
  port: Port;
  ports: Port[];
  context: Context;
  /** Say it to those who do not see it. */
  say: (words: string) => void;
  /** The row is going away: let the keyboard go somewhere that stays. */
  leave: () => void;
}

function IconButton(props: { icon: LabIcon; label: string; onClick: React.MouseEventHandler; menu?: boolean }): JSX.Element {
  const Icon = props.icon;
  return (
    <button
      type="button"
      className="vessl-Button vessl-mod-icon"
      title={props.label}
      aria-label={props.label}
      aria-haspopup={props.menu ? 'menu' : undefined}
      onClick={props.onClick}
    >
      <Icon.react tag="span" className="vessl-icon" aria-hidden="true" width="16px" height="16px" />
    </button>
  );
}

/** What opens the menu of a port at one of its buttons. */
function menuOf({ port, context }: RowProps, remove: () => void): (at: Element) => void {
  return at => {
    const { trans } = context;
    const commands = new CommandRegistry();
    const menu = new Menu({ commands });
    const add = (id: string, label: string, execute: () => void) => {
      commands.addCommand(id, { label, execute });
      menu.addItem({ command: id });
    };
    if (siteLink(port.otherUrl, document.baseURI)) {
      const words =
        port.path === 'stripped' ? trans.__('Open with the full path') : trans.__('Open with the short path');
      add('other-tab', words, () => openPort(port, port.otherUrl, 'tab', context));
      add('other-lab', trans.__('%1, in JupyterLab', words), () => openPort(port, port.otherUrl, 'lab', context));
    }
    if (port.declared) {
      add('remove', trans.__('Remove from the list of ports'), remove);
    }
    menu.aboutToClose.connect(() => {
      // the chosen command runs after the menu has closed
      setTimeout(() => menu.dispose());
      // the row may be gone by now
      const place = at.isConnected ? at : document.getElementById(PORTS_HEADING_ID);
      (place as HTMLElement | null)?.focus();
    });
    const { left, bottom } = at.getBoundingClientRect();
    menu.open(left, bottom);
  };
}

function OpenButtons({ port, context, say }: RowProps): JSX.Element | null {
  const { settings, trans } = context;
  const link = siteLink(port.url, document.baseURI);
  if (!link) {
    return null;
  }
  const title = portTitle(port, context);
  const tab = (
    <a
      key="tab"
      className="vessl-Button"
      href={link}
      target="_blank"
      rel="noopener noreferrer"
      aria-label={trans.__('Open %1 in a new tab', title)}
    >
      {trans.__('Open')} <span aria-hidden="true">↗</span>
    </a>
  );
  const lab = (
    <button
      key="lab"
      type="button"
      className="vessl-Button"
      aria-label={trans.__('Open %1 inside JupyterLab', title)}
      title={trans.__('Open inside JupyterLab')}
      onClick={() => openPort(port, port.url, 'lab', context)}
    >
      {trans.__('Open here')}
    </button>
  );
  return (
    <>
      {settings().openPortsIn === 'lab' ? [lab, tab] : [tab, lab]}
      <IconButton
        icon={copyIcon}
        label={trans.__('Copy the link to %1', title)}
        onClick={() => {
          Clipboard.copyToSystem(link);
          say(trans.__('The link to %1 is copied.', title));
        }}
      />
    </>
  );
}

function Address({ port, context, say }: RowProps): JSX.Element | null {
  const { trans } = context;
  return port.address ? (
    <div className="vessl-row">
      <code className="vessl-address">
        <bdi>{port.address}</bdi>
      </code>
      <IconButton
        icon={copyIcon}
        label={trans.__('Copy the address of %1', portTitle(port, context))}
        onClick={() => {
          Clipboard.copyToSystem(port.address);
          say(trans.__('The address is copied.'));
        }}
      />
    </div>
  ) : null;
}

export function PortRow(props: RowProps): JSX.Element {
  const { port, ports, context, say, leave } = props;
  const { model, trans } = context;
  const doing = useDoing();
  const row = React.useRef<HTMLLIElement>(null);
  const name = proposeName(
    port,
    ports.map(other => other.name)
  );
  const remove = async () => {
    leave();
    if (await doing.run(() => model.deletePort(port.name))) {
      say(trans.__('%1 is removed.', port.name));
    }
  };
  const declare = async () => {
    if (await doing.run(() => model.putPort(name, { type: 'http', port: port.port, path: 'stripped' }))) {
      say(trans.__('Port %1 is now called %2.', port.port, name));
      row.current?.focus();
    }
  };
  const showMenu = menuOf(props, () => void remove());
  const state = port.listening ? trans.__('listening') : trans.__('not listening yet');
  const facts = [port.type === 'tcp' ? 'tcp' : '', port.process].filter(Boolean).join(' · ');
  return (
    <li className="vessl-Port" ref={row} tabIndex={-1} aria-label={portTitle(port, context)}>
      <div className="vessl-row">
        <strong className="vessl-Port-name" title={port.name || undefined}>
          {port.name ? <bdi>{port.name}</bdi> : <span className="vessl-quiet">{trans.__('found')}</span>}
        </strong>{' '}
        <span className="vessl-Port-number">{port.port}</span>
        {(port.declared || siteLink(port.otherUrl, document.baseURI)) && (
          <IconButton
            icon={ellipsesIcon}
            label={trans.__('More for %1', portTitle(port, context))}
            menu
            onClick={event => showMenu(event.currentTarget)}
          />
        )}
      </div>
      <div className="vessl-Port-state" data-listening={port.listening}>
        <span className="vessl-dot" aria-hidden="true">
          {port.listening ? '●' : '○'}
        </span>
        <span className="vessl-Port-facts" title={facts || undefined}>
          {state}
          {facts && ' · '}
          {facts && <bdi>{facts}</bdi>}
        </span>
      </div>
      <Address {...props} />
      {port.note && <p className="vessl-quiet">{port.note}</p>}
      <div className="vessl-actions">
        <OpenButtons {...props} />
        {!port.declared && (
          <button
            type="button"
            className="vessl-Button"
            disabled={doing.busy}
            title={trans.__('Keep port %1 in the list, under the name %2', port.port, name)}
            onClick={() => void declare()}
          >
            <addIcon.react tag="span" className="vessl-icon" aria-hidden="true" width="14px" height="14px" />
            <bdi className="vessl-ellipsis">{trans.__('Keep as %1', name)}</bdi>
          </button>
        )}
      </div>
      <Refusal error={doing.error} />
    </li>
  );
}
