/** The item in the status bar: price per hour, credits left, until when. */
import { ReactWidget, type LabIcon } from '@jupyterlab/ui-components';
import { Signal, type ISignal } from '@lumino/signaling';
import React from 'react';

import { Boundary } from './boundary';
import type { Context } from './context';
import { duration, instant, MINUTE_MS } from './format';
import { emptyIcon, warningIcon, workspaceIcon } from './icons';
import { summarize } from './summary';
import { CommandIDs } from './tokens';
import type { Tone } from './wire';

/** From this age on the numbers are shown with the time for which they hold. */
const OLD_MS = 2 * MINUTE_MS;

const ICONS: Record<Tone, LabIcon> = { fine: workspaceIcon, low: warningIcon, below: emptyIcon };

function ItemButton(props: { context: Context; tone: Tone; text: string; title: string }): JSX.Element {
  const { context, tone, text, title } = props;
  const Icon = ICONS[tone];
  return (
    <button
      type="button"
      className="vessl-StatusItem-button"
      data-tone={tone}
      title={title}
      onClick={() => void context.app.commands.execute(CommandIDs.showPanel)}
    >
      <Icon.react tag="span" aria-hidden="true" className="vessl-icon" width="14px" height="14px" />
      <span className="vessl-ellipsis">{text}</span>
    </button>
  );
}

function Line({ context }: { context: Context }): JSX.Element | null {
  const { model, place, trans } = context;
  const service = model.status?.service;
  if (!service) {
    return null;
  }
  const now = model.now();
  const summary = summarize({ ...service, state: model.state }, now, place, trans);
  const isOld = now - service.atMs > OLD_MS && !model.isStopped;
  const text = isOld ? trans.__('%1 (as of %2)', summary.text, instant(service.atMs, now, place)) : summary.text;
  const title = [
    summary.warning,
    isOld ? trans.__('Not updated for %1. %2', duration(now - service.atMs, trans), model.problem) : '',
    model.isGone ? model.problem : '',
    trans.__('Show what the workspace costs, its ports and what will pause it.')
  ];
  return <ItemButton context={context} tone={summary.tone} text={text} title={title.filter(Boolean).join('\n')} />;
}

export class StatusItem extends ReactWidget {
  constructor(private readonly context: Context) {
    super();
    this.addClass('vessl-StatusItem');
    context.model.changed.connect(this._onChanged, this);
  }

  /** Shown once the service was reached, unless the person does not want it. */
  readonly isActive = (): boolean =>
    this.context.model.status?.service != null && this.context.settings().showInStatusBar;

  get activeStateChanged(): ISignal<this, void> {
    return this._activeStateChanged;
  }

  /** Look again at the settings. */
  settingsChanged(): void {
    this._onChanged();
  }

  protected override render(): JSX.Element | null {
    const { model, trans } = this.context;
    return (
      <Boundary
        of={model.status}
        instead={
          <ItemButton
            context={this.context}
            tone="low"
            text={trans.__('Workspace: not shown')}
            title={trans.__('The last answer could not be shown. It will be asked again.')}
          />
        }
      >
        <Line context={this.context} />
      </Boundary>
    );
  }

  private _onChanged(): void {
    const active = this.isActive();
    if (active !== this._wasActive) {
      this._wasActive = active;
      this._activeStateChanged.emit();
    }
    this.update();
  }

  private _wasActive = false;
  private readonly _activeStateChanged = new Signal<this, void>(this);
}
