/** Keeps one faulty answer from emptying a part of the page for good. */
import React from 'react';

interface BoundaryProps {
  /** What is shown; when it is another one, drawing is tried again. */
  of: unknown;
  /** Shown instead of what could not be drawn. */
  instead: React.ReactNode;
  children: React.ReactNode;
}

interface BoundaryState {
  of: unknown;
  failed: boolean;
}

export class Boundary extends React.Component<BoundaryProps, BoundaryState> {
  override state: BoundaryState = { of: this.props.of, failed: false };

  static getDerivedStateFromError(): Partial<BoundaryState> {
    return { failed: true };
  }

  static getDerivedStateFromProps(props: BoundaryProps, state: BoundaryState): BoundaryState | null {
    return props.of === state.of ? null : { of: props.of, failed: false };
  }

  override componentDidCatch(error: Error): void {
    // the browser's console is where an admin looks; people get the sentence
    console.error('jupyterhub-vessl-lab: a part of the page could not be drawn', error);
  }

  override render(): React.ReactNode {
    return this.state.failed ? this.props.instead : this.props.children;
  }
}
