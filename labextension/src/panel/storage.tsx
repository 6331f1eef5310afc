/** Storage: where it is, what kind it is, how full; and how the last session ended. */
import React from 'react';

import type { Context } from '../context';
import { bytes, percent } from '../format';
import type { Service, Volume } from '../wire';
import { Meter, Moment, Name, Section } from './parts';

function kindInWords(volume: Volume, context: Context): string {
  const { trans } = context;
  const words: Record<string, string> = {
    workspace: trans.__('home, kept while paused'),
    cluster: trans.__('cluster storage, survives termination'),
    object: trans.__('object storage, shared by all clusters'),
    temporary: trans.__('temporary, wiped at every stop')
  };
  const kind = words[volume.kind] ?? volume.kind;
  return volume.readOnly ? trans.__('%1, read-only', kind) : kind;
}

function sizeInWords(volume: Volume, context: Context): string {
  const { trans } = context;
  if (volume.usedBytes === null) {
    return volume.sizeBytes ? bytes(volume.sizeBytes) : trans.__('size not known');
  }
  return volume.sizeBytes
    ? trans.__('%1 of %2', bytes(volume.usedBytes), bytes(volume.sizeBytes))
    : trans.__('%1 used', bytes(volume.usedBytes));
}

export function Storage({ volumes, context }: { volumes: Volume[]; context: Context }): JSX.Element {
  const { trans } = context;
  return (
    <Section id="storage" title={trans.__('Storage')}>
      {volumes.length ? (
        <table className="vessl-table">
          <thead className="vessl-hidden">
            <tr>
              <th scope="col">{trans.__('Mount path')}</th>
              <th scope="col">{trans.__('Used of size')}</th>
            </tr>
          </thead>
          <tbody>
            {volumes.map(volume => (
              <tr key={volume.mountPath}>
                <th scope="row">
                  <code>
                    <Name of={volume.mountPath} />
                  </code>
                  <span className="vessl-quiet">
                    {volume.name && (
                      <>
                        <Name of={volume.name} className="vessl-ellipsis vessl-inline" />
                        {': '}
                      </>
                    )}
                    {kindInWords(volume, context)}
                  </span>
                </th>
                <td>
                  <Meter
                    label={trans.__('%1 used', volume.mountPath)}
                    fills
                    percent={volume.usedBytes === null ? null : percent(volume.usedBytes, volume.sizeBytes)}
                    text={sizeInWords(volume, context)}
                  />
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      ) : (
        <p className="vessl-quiet">{trans.__('No storage is known. It is listed here when a volume is mounted.')}</p>
      )}
    </Section>
  );
}

export function LastEnd({ end, context }: { end: Service['lastEnd']; context: Context }): JSX.Element | null {
  return end ? (
    <Section id="last-end" title={context.trans.__('Last session')}>
      <p>
        {end.atMs !== 0 && (
          <>
            <Moment atMs={end.atMs} context={context} />
            {' · '}
          </>
        )}
        {end.sentence}
      </p>
      {end.hint && <p className="vessl-quiet">{end.hint}</p>}
    </Section>
  ) : null;
}
