import { lost } from './lost.ts';
import { proving } from './proving.ts';
import { type ConnectionState, describeEnd, type Machine } from './state.ts';
import { openWire } from './wire.ts';

export function dialling(machine: Machine): ConnectionState {
  const { clock, dial, limits } = machine.deps;
  const wire = openWire(dial, machine.nextRelay());
  const fail = (why: string) => {
    wire.drop();
    machine.become(() => lost(machine, { why }));
  };
  const timer = clock.setTimeout(() => fail('the relay does not answer'), limits.handshakeMs);
  wire.listen({
    onOpen: () => machine.become(() => proving(machine, wire)),
    onClose: (end) => fail(describeEnd(end)),
  });
  return {
    name: 'dialling',
    wire,
    leave: () => clock.clearTimeout(timer),
  };
}
