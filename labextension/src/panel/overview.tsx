/** What runs and what it costs. */
import { checkIcon, pauseIcon, stopIcon, refreshIcon, type LabIcon } from '@jupyterlab/ui-components';
import React from 'react';

import type { Context } from '../context';
import { duration, money, rate, resources } from '../format';
import { emptyIcon, warningIcon } from '../icons';
import type { Service } from '../wire';
import { Name } from './parts';

function stateOf(state: string, context: Context): { words: string; icon: LabIcon } {
  const { trans } = context;
  const states: Record<string, { words: string; icon: LabIcon }> = {
    running: { words: trans.__('Running'), icon: checkIcon },
    pending: { words: trans.__('Starting'), icon: refreshIcon },
    paused: { words: trans.__('Paused'), icon: pauseIcon },
    failed: { words: trans.__('Failed'), icon: warningIcon },
    terminated: { words: trans.__('Terminated'), icon: stopIcon },
    stopped: { words: trans.__('Not running'), icon: stopIcon }
  };
  return states[state] ?? { words: state || trans.__('Unknown'), icon: warningIcon };
}

export function Overview({ service, context }: { service: Service; context: Context }): JSX.Element {
  const { model, trans } = context;
  const { credits, spec } = service;
  const { state } = model;
  const { words, icon: Icon } = stateOf(state, context);
  const since = service.sinceMs && !model.isStopped ? duration(model.now() - service.sinceMs, trans) : '';
  const Warning = credits.tone === 'below' ? emptyIcon : warningIcon;
  return (
    <div className="vessl-Overview">
      <h2 title={service.title}>
        <bdi>{service.title || spec.title || trans.__('Workspace')}</bdi>
      </h2>
      <p className="vessl-state" data-state={state}>
        <Icon.react tag="span" className="vessl-icon" aria-hidden="true" width="16px" height="16px" />
        <span>
          {words}
          {since && ` ${since}`}
        </span>
      </p>
      {service.message && !model.isStopped && <p className="vessl-quiet">{service.message}</p>}
      <div className="vessl-money">
        {/* what it cost to run is not what it costs now */}
        {!model.isStopped && (
          <div>
            <span>{trans.__('Price')}</span> <strong>{rate(service.rateMicrosPerHour, service.currency)}</strong>
          </div>
        )}
        <div>
          <span>{trans.__('This session')}</span>{' '}
          <strong title={money(service.sessionMicros, service.currency, 6)}>
            {money(service.sessionMicros, service.currency)}
          </strong>
        </div>
        <div data-tone={credits.tone}>
          <span>{trans.__('Credits left')}</span>{' '}
          <strong title={money(credits.balanceMicros, credits.currency, 6)}>
            {money(credits.balanceMicros, credits.currency)}
          </strong>
        </div>
      </div>
      {credits.warning && (
        <p className="vessl-warning" data-tone={credits.tone}>
          <Warning.react tag="span" className="vessl-icon" aria-hidden="true" width="16px" height="16px" />
          <span>{credits.warning}</span>
        </p>
      )}
      <dl className="vessl-facts">
        <dt>{trans.__('Resource spec')}</dt>
        <dd>
          <Name of={spec.title} />
          <span className="vessl-quiet">{resources(spec, trans)}</span>
        </dd>
        <dt>{trans.__('Image')}</dt>
        <dd>
          <Name of={service.imageTitle} />
        </dd>
        <dt>{trans.__('Team')}</dt>
        <dd>
          <Name of={service.teamTitle} />
          {credits.title && <Name of={credits.title} className="vessl-clamp vessl-quiet" />}
        </dd>
        {service.clusterTitle && (
          <>
            <dt>{trans.__('Cluster')}</dt>
            <dd>
              <Name of={service.clusterTitle} />
            </dd>
          </>
        )}
      </dl>
    </div>
  );
}
