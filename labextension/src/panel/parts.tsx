/** Small pieces that the sections of the panel share. */
import React from 'react';

import { instant, utc, validIso } from '../format';
import type { Context } from '../context';
import { asApiError, type ApiError } from '../refusal';

/** What is shorter than that is never shortened further. */
const TITLE_CHARACTERS_MIN = 20;

/** The id of the heading of a part of the panel. */
export const headingId = (id: string): string => `vessl-${id}`;

/** A titled part of the panel; the title is a heading that can be jumped to. */
export function Section(props: {
  id: string;
  title: string;
  action?: React.ReactNode;
  children: React.ReactNode;
}): JSX.Element {
  const heading = headingId(props.id);
  return (
    <section className="vessl-Section" aria-labelledby={heading}>
      <div className="vessl-Section-head">
        <h3 id={heading} tabIndex={-1}>
          {props.title}
        </h3>
        {props.action}
      </div>
      {props.children}
    </section>
  );
}

/**
 * What somebody called something, in the direction of its own script; `className` says how it is shortened.
 *
 * A name that may be shortened is whole on hover.
 */
export function Name({ of, className = 'vessl-clamp' }: { of: string; className?: string }): JSX.Element {
  return (
    <bdi className={className} title={of.length > TITLE_CHARACTERS_MIN ? of : undefined}>
      {of}
    </bdi>
  );
}

/** An instant in local time, with UTC on hover. */
export function Moment({ atMs, context }: { atMs: number; context: Context }): JSX.Element {
  return (
    <time dateTime={validIso(atMs)} title={utc(atMs)}>
      {instant(atMs, context.model.now(), context.place)}
    </time>
  );
}

/** A bar with its value in words; without a bar when the whole is not known. `fills`: being full is a worry. */
export function Meter(props: { label: string; percent: number | null; text: string; fills?: boolean }): JSX.Element {
  const { label, percent, text, fills } = props;
  return (
    <div className="vessl-Meter">
      <span className="vessl-Meter-label">{label}</span>{' '}
      <span className="vessl-Meter-text" title={text.length > TITLE_CHARACTERS_MIN ? text : undefined}>
        {text}
      </span>
      {percent !== null && (
        <div
          className="vessl-Meter-bar"
          role="meter"
          aria-label={label}
          aria-valuemin={0}
          aria-valuemax={100}
          aria-valuenow={percent}
          aria-valuetext={text}
          data-full={(fills && percent >= 90) || undefined}
        >
          <div style={{ width: `${percent}%` }} />
        </div>
      )}
    </div>
  );
}

/** What was refused and what to do about it. */
export function Refusal({ error, id }: { error: ApiError | null; id?: string }): JSX.Element | null {
  return error ? (
    <p className="vessl-error" id={id} role="alert">
      {error.sentence}
    </p>
  ) : null;
}

export interface Doing {
  busy: boolean;
  error: ApiError | null;
  /** Do it unless something is being done; true when it went well. */
  run(action: () => Promise<void>): Promise<boolean>;
  clear(): void;
}

/** One action at a time, with its refusal. */
export function useDoing(): Doing {
  const [busy, setBusy] = React.useState(false);
  const [error, setError] = React.useState<ApiError | null>(null);
  const isBusy = React.useRef(false);
  return {
    busy,
    error,
    clear: () => setError(null),
    run: async action => {
      if (isBusy.current) {
        return false;
      }
      isBusy.current = true;
      setBusy(true);
      setError(null);
      try {
        await action();
        return true;
      } catch (reason) {
        setError(asApiError(reason));
        return false;
      } finally {
        isBusy.current = false;
        setBusy(false);
      }
    }
  };
}
