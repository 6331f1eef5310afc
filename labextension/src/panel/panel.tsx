/** The panel "Workspace": everything that a person wants to know about where they work. */
import { ReactWidget } from '@jupyterlab/ui-components';
import React from 'react';

import { Boundary } from '../boundary';
import type { Context } from '../context';
import { heldIn, keepFocus } from '../focus';
import { warningIcon } from '../icons';
import { pagesLink } from '../links';
import { Overview } from './overview';
import { Pauses } from './pauses';
import { Ports } from './ports';
import { LastEnd, Storage } from './storage';
import { Told } from './told';
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
      const isNear = first !== undefined && first.atMs - model.now() < NEAR_MS && !model.isStopped;
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

/** When a drawing takes away what has the focus, the keyboard goes on nearby instead of at the top of the page. */
function useKeptFocus(root: HTMLElement): void {
  const held = heldIn(root);
  React.useLayoutEffect(() => keepFocus(held));
}

/** Why what is shown is not up to date, and the way on when the workspace does not run. */
function Problem({ context }: { context: Context }): JSX.Element | null {
  const { model, trans } = context;
  const words = model.isPaused ? trans.__('This workspace is paused.') : model.problem;
  const pages = pagesLink(model.status?.service?.pagesUrl, document.baseURI);
  return words ? (
    <p className="vessl-warning" data-tone="low" role="status">
      <warningIcon.react tag="span" className="vessl-icon" aria-hidden="true" width="16px" height="16px" />
      <span>
        {words}
        {model.isStopped && pages && (
          <>
            {' '}
            <a href={pages}>{trans.__('Resume it on the page Workspaces')}</a>
          </>
        )}
      </span>
    </p>
  ) : null;
}

function Content({ context }: { context: Context }): JSX.Element {
  const { model, trans } = context;
  const [said, say] = React.useState('');
  const status = model.status;
  const service = status?.service ?? null;
  return (
    <>
      <div className="vessl-hidden" role="status">
        {said}
      </div>
      <Problem context={context} />
      {!status && !model.problem && <p className="vessl-quiet">{trans.__('Asking how the workspace is…')}</p>}
      {service && <Overview service={service} context={context} />}
      {service && <Pauses service={service} context={context} />}
      {status && !model.isStopped && <Ports ports={status.ports} context={context} say={say} />}
      {status?.usage && !model.isStopped && <UsageNow usage={status.usage} context={context} />}
      {status && <Storage volumes={status.volumes} context={context} />}
      {service && <Told notices={service.notices} context={context} />}
      {service && <LastEnd end={service.lastEnd} context={context} />}
    </>
  );
}

interface GuardedProps {
  context: Context;
  root: HTMLElement;
  isShown: () => boolean;
}

/** The content, drawn again when there is news; an answer that cannot be drawn costs no more than itself. */
export function Guarded({ context, root, isShown }: GuardedProps): JSX.Element {
  const { model, trans } = context;
  useModel(context, isShown);
  useKeptFocus(root);
  return (
    <Boundary
      of={model.status}
      instead={
        <p className="vessl-error" role="alert">
          {trans.__('The last answer could not be shown. It will be asked again.')}
        </p>
      }
    >
      <Content context={context} />
    </Boundary>
  );
}

export class Panel extends ReactWidget {
  constructor(private readonly context: Context) {
    super();
    this.addClass('vessl-Panel');
  }

  protected override render(): JSX.Element {
    return <Guarded context={this.context} root={this.node} isShown={() => this.isVisible} />;
  }
}
