/** What JupyterLab told of late: a notice in the corner is short and goes away, here it can be read in full. */
import React from 'react';

import type { Context } from '../context';
import { sentences } from '../format';
import type { Notice } from '../wire';
import { Moment, Section } from './parts';

const SHOWN_MAX = 5;

export function Told({ notices, context }: { notices: Notice[]; context: Context }): JSX.Element | null {
  const { trans } = context;
  const latest = [...notices].filter(notice => notice.message).sort((a, b) => b.id - a.id);
  return latest.length ? (
    <Section id="told" title={trans.__('Notices')}>
      <ul className="vessl-list">
        {latest.slice(0, SHOWN_MAX).map(notice => (
          <NoticeItem key={notice.id} notice={notice} context={context} />
        ))}
      </ul>
    </Section>
  ) : null;
}

function NoticeItem({ notice, context }: { notice: Notice; context: Context }): JSX.Element {
  const short = sentences(notice.message);
  const rest = notice.message.slice(short.length).trim();
  return (
    <li>
      <p>
        {notice.atMs !== 0 && (
          <>
            <Moment atMs={notice.atMs} context={context} />
            {' · '}
          </>
        )}
        {short}
      </p>
      {rest && (
        <details className="vessl-more">
          <summary>{context.trans.__('More')}</summary>
          <p>{rest}</p>
        </details>
      )}
    </li>
  );
}
