/** What a failed request means, in words for people. Pure. */

/** The hub's and the proxy's answers for a server that does not run. */
const STOPPED_STATUSES: readonly number[] = [404, 424, 503];
const TEXT_CHARACTERS_MAX = 600;

export interface Sentences {
  unreachable: string;
  unclear: string;
  gone: string;
}

/** A refusal or a failure; `field` is the part of a form that it belongs to. */
export class ApiError extends Error {
  constructor(
    message: string,
    readonly hint = '',
    readonly field = '',
    readonly status = 0
  ) {
    super(message);
  }

  /** What happened and what to do about it. */
  get sentence(): string {
    return `${this.message} ${this.hint}`.trim();
  }
}

/** The hub answered in the server's place: the workspace does not run. */
export class GoneError extends ApiError {}

/** Whatever was thrown, as something that can be shown. */
export function asApiError(reason: unknown): ApiError {
  return reason instanceof ApiError ? reason : new ApiError(String(reason));
}

/**
 * What an answer with the status of a failure says.
 *
 * Only the server extension's own words are shown: those of the hub or of a proxy are for programs, and name addresses.
 */
export function readRefusal(answer: unknown, status: number, sentences: Sentences): ApiError {
  const { message, hint, field } = (answer ?? {}) as Record<string, unknown>;
  if (typeof message === 'string' && message && typeof hint === 'string' && typeof field === 'string') {
    const [words, advice, part] = [message, hint, field].map(text => text.slice(0, TEXT_CHARACTERS_MAX));
    return new ApiError(words ?? '', advice, part, status);
  }
  return STOPPED_STATUSES.includes(status)
    ? new GoneError(sentences.gone, '', '', status)
    : new ApiError(sentences.unclear, '', '', status);
}
