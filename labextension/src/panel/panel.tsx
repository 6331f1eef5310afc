/** The panel "Workspace": everything that a person wants to know about where they work. */
import { ReactWidget } from '@jupyterlab/ui-components';
import React from 'react';

import type { Context } from '../context';
import { warningIcon } from '../icons';
import { Overview } from './overview';
import { Pauses } from './pauses';
import { Ports } from './ports';
import { LastEnd, Storage } from './storage';
import { UsageNow } from './usage';

const NEAR_MS = 10 * 60_000;
const CALM_MS = 20_000;

/** Draw again when the model changes, and as often as the countdowns need it while somebody can see them. */
function useModel({ model }: Context, isShown: () => boolean): void {
  const [, draw] = React.useReducer((count: number) => count + 1, 0);
  React.useEffect(() => {
    let timer = 0;
    const wait = () => {
      const first = model.status?.service?.pauses[0];
      const isNear = first !== undefined && first.atMs - model.now() < NEAR_MS && !model.isPaused;
      window.clearTimeout(timer);
      timer = window.setTimeout(tick, isNear ? 1000 : CALM_MS);
    };
    const tick = () => {
      if (!document.hidden && isShown()) {
        draw();
      }
      wait();
    };
    const changed = () => {
      draw();
      wait();
    };
    model.changed.connect(changed);
    wait();
    return () => {
      window.clearTimeout(timer);
      model.changed.disconnect(changed);
    };
  }, [model]);
}

function Content({ context, isShown }: { context: Context; isShown: () => boolean }): JSX.Element {
  const { model, trans } = context;
  const [said, say] = React.useState('');
  useModel(context, isShown);
  const status = model.status;
  const service = status?.service ?? null;
  return (
    <>
      <div className="vessl-hidden" role="status">
        {said}
      </div>
      {model.problem && !model.isPaused && (
        <p className="vessl-warning" data-tone="low" role="status">
          <warningIcon.react tag="span" className="vessl-icon" aria-hidden="true" width="16px" height="16px" />
          <span>{model.problem}</span>
        </p>
      )}
      {!status && !model.problem && <p className="vessl-quiet">{trans.__('Asking how the workspace is…')}</p>}
      {service && <Overview service={service} context={context} />}
      {service && <Pauses service={service} context={context} />}
      {status && !model.isPaused && <Ports ports={status.ports} context={context} say={say} />}
      {status?.usage && !model.isPaused && <UsageNow usage={status.usage} context={context} />}
      {status && <Storage volumes={status.volumes} context={context} />}
      {service && <LastEnd end={service.lastEnd} context={context} />}
    </>
  );
}

export class Panel extends ReactWidget {
  constructor(private readonly context: Context) {
    super();
    this.addClass('vessl-Panel');
  }

  protected override render(): JSX.Element {
    return <Content context={this.context} isShown={() => this.isVisible} />;
  }
}
