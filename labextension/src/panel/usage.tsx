/** CPU, memory and GPUs now. */
import React from 'react';

import type { Context } from '../context';
import { bytes, cpu, percent } from '../format';
import type { Usage } from '../wire';
import { Meter, Section } from './parts';

export function UsageNow({ usage, context }: { usage: Usage; context: Context }): JSX.Element {
  const { trans } = context;
  const used = usage.cpuPercent === null ? null : Math.min(100, Math.max(0, Math.round(usage.cpuPercent)));
  const [memory, limit] = [usage.memoryBytes, usage.memoryBytesLimit];
  const unknown = trans.__('unknown');
  const ofCpus = usage.cpuMillisLimit ? trans.__('%1 % of %2', used, cpu(usage.cpuMillisLimit)) : `${used} %`;
  return (
    <Section id="usage" title={trans.__('In use now')}>
      <Meter
        label={trans.__('CPU')}
        percent={used}
        text={used === null ? unknown : ofCpus}
      />
      <Meter
        label={trans.__('Memory')}
        fills
        percent={memory === null ? null : percent(memory, limit)}
        text={memory === null ? unknown : limit ? trans.__('%1 of %2', bytes(memory), bytes(limit)) : bytes(memory)}
      />
      {usage.gpus.map((gpu, index) => (
        <React.Fragment key={index}>
          <Meter
            label={usage.gpus.length > 1 ? trans.__('GPU %1', index) : trans.__('GPU')}
            percent={gpu.percent}
            text={gpu.percent === null ? gpu.name : `${gpu.percent} % · ${gpu.name}`}
          />
          <Meter
            label={usage.gpus.length > 1 ? trans.__('GPU %1 memory', index) : trans.__('GPU memory')}
            percent={percent(gpu.memoryBytes, gpu.memoryBytesLimit)}
            fills
            text={trans.__('%1 of %2', bytes(gpu.memoryBytes), bytes(gpu.memoryBytesLimit))}
          />
        </React.Fragment>
      ))}
    </Section>
  );
}
