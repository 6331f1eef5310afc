/** The ports: those that are declared first, then what else was found listening. */
import { addIcon } from '@jupyterlab/ui-components';
import React from 'react';

import type { Context } from '../context';
import type { Port } from '../wire';
import { AddPort } from './add-port';
import { Section } from './parts';
import { PortRow } from './port-row';

/** So many found ports are listed before one has to ask for the rest. */
const SHOWN_MAX = 20;

/** Keys that stay when a found port gets a name, so that its row and the keyboard's place in it stay too. */
function keyed(ports: Port[]): [string, Port][] {
  const seen = new Map<number, number>();
  return ports.map(port => {
    const before = seen.get(port.port) ?? 0;
    seen.set(port.port, before + 1);
    return [`${port.port}-${before}`, port];
  });
}

export function Ports(props: { ports: Port[]; context: Context; say: (words: string) => void }): JSX.Element {
  const { ports, context, say } = props;
  const { trans } = context;
  const [adding, setAdding] = React.useState(false);
  const [all, setAll] = React.useState(false);
  const list = React.useRef<HTMLUListElement>(null);
  const addButton = React.useRef<HTMLButtonElement>(null);
  const toAddButton = () => setTimeout(() => addButton.current?.focus());
  const shown = all ? ports : ports.slice(0, Math.max(SHOWN_MAX, ports.filter(port => port.declared).length));
  const showAll = () => {
    setAll(true);
    // the button goes away: on with the first row that it brought
    setTimeout(() => (list.current?.children[shown.length] as HTMLElement | undefined)?.focus());
  };
  const done = (name: string | null) => {
    setAdding(false);
    toAddButton();
    if (name) {
      say(trans.__('%1 is added.', name));
    }
  };
  const add = !adding && (
    <button ref={addButton} type="button" className="vessl-Button" onClick={() => setAdding(true)}>
      <addIcon.react tag="span" className="vessl-icon" aria-hidden="true" width="14px" height="14px" />
      {trans.__('Add a port')}
    </button>
  );
  return (
    <Section id="ports" title={trans.__('Ports')} action={add}>
      {adding && <AddPort context={context} done={done} />}
      {ports.length ? (
        <ul className="vessl-list" ref={list}>
          {keyed(shown).map(([key, port]) => (
            <PortRow key={key} port={port} ports={ports} context={context} say={say} leave={toAddButton} />
          ))}
        </ul>
      ) : (
        <p className="vessl-quiet">
          {trans.__('Nothing listens yet. Start an app in a terminal and it appears here, for example:')}
          <code className="vessl-example">python -m http.server 3000</code>
        </p>
      )}
      {shown.length < ports.length && (
        <button type="button" className="vessl-Button vessl-mod-wide" onClick={showAll}>
          {trans.__('Show %1 more', ports.length - shown.length)}
        </button>
      )}
    </Section>
  );
}
