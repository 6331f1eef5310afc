/** The form with which a port is declared while the workspace runs. */
import React from 'react';

import type { Context } from '../context';
import { fieldOf, PORT_MAX, PORT_MIN, typedPort } from '../links';
import { ApiError } from '../refusal';
import type { PathKind, PortType } from '../wire';
import { Refusal, useDoing } from './parts';

const FIELDS = ['name', 'port', 'type', 'path'] as const;
type Field = (typeof FIELDS)[number];

interface FormProps {
  context: Context;
  done: (name: string | null) => void;
}

/** One labelled control with its refusal under it. */
function Labelled(props: {
  field: Field;
  label: string;
  error: ApiError | null;
  children: (attributes: { id: string; name: Field; 'aria-invalid'?: true; 'aria-describedby'?: string }) => JSX.Element;
}): JSX.Element {
  const id = `vessl-add-port-${props.field}`;
  const describedBy = `${id}-error`;
  return (
    <div className="vessl-Field">
      <label htmlFor={id}>{props.label}</label>
      {props.children({
        id,
        name: props.field,
        ...(props.error && { 'aria-invalid': true as const, 'aria-describedby': describedBy })
      })}
      <Refusal error={props.error} id={describedBy} />
    </div>
  );
}

export function AddPort({ context, done }: FormProps): JSX.Element {
  const { model, trans } = context;
  const [name, setName] = React.useState('');
  const [port, setPort] = React.useState('');
  const [type, setType] = React.useState<PortType>('http');
  const [path, setPath] = React.useState<PathKind>('stripped');
  const doing = useDoing();
  const form = React.useRef<HTMLFormElement>(null);
  const at = doing.error && fieldOf(doing.error.field, FIELDS);
  const errorAt = (field: Field) => (at === field ? doing.error : null);

  React.useEffect(() => form.current?.querySelector('input')?.focus(), []);
  React.useEffect(() => {
    if (at) {
      form.current?.querySelector<HTMLElement>(`[name=${at}]`)?.focus();
    }
  }, [doing.error]);

  const submit = async (event: React.FormEvent) => {
    event.preventDefault();
    const wanted = name.trim();
    const added = await doing.run(async () => {
      if (!wanted) {
        throw new ApiError(trans.__('A port has a name, such as web.'), '', 'name');
      }
      const number = typedPort(port);
      if (number === null) {
        throw new ApiError(trans.__('A port is a whole number from %1 to %2.', PORT_MIN, PORT_MAX), '', 'port');
      }
      await model.putPort(wanted, { type, port: number, path: type === 'tcp' ? 'stripped' : path });
    });
    if (added) {
      done(wanted);
    }
  };

  return (
    <form
      ref={form}
      className="vessl-Form"
      noValidate
      onSubmit={event => void submit(event)}
      onKeyDown={event => event.key === 'Escape' && done(null)}
      aria-label={trans.__('Add a port')}
    >
      <div className="vessl-Form-pair">
        <Labelled field="name" label={trans.__('Name')} error={errorAt('name')}>
          {attributes => (
            <input
              {...attributes}
              value={name}
              onChange={event => setName(event.target.value)}
              placeholder="web"
              maxLength={63}
              autoComplete="off"
              spellCheck={false}
            />
          )}
        </Labelled>
        <Labelled field="port" label={trans.__('Number')} error={errorAt('port')}>
          {attributes => (
            <input
              {...attributes}
              value={port}
              onChange={event => setPort(event.target.value)}
              placeholder="3000"
              inputMode="numeric"
              maxLength={9}
              autoComplete="off"
            />
          )}
        </Labelled>
      </div>
      <Labelled field="type" label={trans.__('Type')} error={errorAt('type')}>
        {attributes => (
          <select {...attributes} value={type} onChange={event => setType(event.target.value as PortType)}>
            <option value="http">{trans.__('http: opens in the browser')}</option>
            <option value="tcp">{trans.__('tcp: for other programs')}</option>
          </select>
        )}
      </Labelled>
      {type === 'http' && (
        <Labelled field="path" label={trans.__('The program sees')} error={errorAt('path')}>
          {attributes => (
            <select {...attributes} value={path} onChange={event => setPath(event.target.value as PathKind)}>
              <option value="stripped">{trans.__('/ as its first page (most programs)')}</option>
              <option value="absolute">{trans.__('the full path (told its base URL)')}</option>
            </select>
          )}
        </Labelled>
      )}
      {!at && <Refusal error={doing.error} />}
      <div className="vessl-actions">
        <button type="submit" className="vessl-Button vessl-mod-accept" disabled={doing.busy}>
          {doing.busy ? trans.__('Adding…') : trans.__('Add')}
        </button>
        <button type="button" className="vessl-Button" onClick={() => done(null)}>
          {trans.__('Cancel')}
        </button>
      </div>
    </form>
  );
}
