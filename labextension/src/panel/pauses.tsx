/** What will pause the workspace and when, and pausing it now. */
import React from 'react';

import type { Context } from '../context';
import { duration } from '../format';
import { CommandIDs } from '../tokens';
import type { Pause, Service } from '../wire';
import { Moment, Refusal, Section, useDoing } from './parts';

function kindInWords(kind: string, context: Context): string {
  const { trans } = context;
  const words: Record<string, string> = {
    credits: trans.__('Credits'),
    budget: trans.__('Budget'),
    idle: trans.__('Nobody works in it'),
    'max-runtime': trans.__('Longest run')
  };
  return words[kind] ?? kind;
}

function PauseItem({ pause, context }: { pause: Pause; context: Context }): JSX.Element {
  const { model, trans } = context;
  const doing = useDoing();
  const left = pause.atMs - model.now();
  return (
    <li>
      <div className="vessl-row">
        <strong>{kindInWords(pause.kind, context)}</strong>
        <span className="vessl-countdown" data-soon={left < 15 * 60_000 || undefined}>
          {left > 0 ? trans.__('in %1', duration(left, trans)) : trans.__('any moment')}
          {' · '}
          <Moment atMs={pause.atMs} context={context} />
        </span>
      </div>
      {pause.sentence && <p className="vessl-quiet">{pause.sentence}</p>}
      {pause.mayKeep && (
        <button
          type="button"
          className="vessl-Button"
          disabled={doing.busy}
          onClick={() => void doing.run(() => model.keepRunning(pause.kind))}
        >
          {trans.__('Keep running')}
        </button>
      )}
      <Refusal error={doing.error} />
    </li>
  );
}

export function Pauses({ service, context }: { service: Service; context: Context }): JSX.Element {
  const { app, model, trans } = context;
  const runs = model.state === 'running';
  return (
    <Section id="pauses" title={trans.__('What will pause it')}>
      {runs && service.pauses.length > 0 ? (
        <ul className="vessl-list">
          {service.pauses.map(pause => (
            <PauseItem key={`${pause.kind} ${pause.sentence}`} pause={pause} context={context} />
          ))}
        </ul>
      ) : (
        <p className="vessl-quiet">
          {runs ? trans.__('Nothing, at the present rate.') : trans.__('It does not run now.')}
        </p>
      )}
      {runs && (
        <button
          type="button"
          className="vessl-Button vessl-mod-wide"
          onClick={() => void app.commands.execute(CommandIDs.pause)}
        >
          {trans.__('Pause now…')}
        </button>
      )}
    </Section>
  );
}
