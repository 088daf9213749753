"""Does all that pyserial can do with a port over RFC 2217, and prints what came of it. The port is a loop."""
import json
import sys
import time

import serial

port = serial.serial_for_url('rfc2217://127.0.0.1:' + sys.argv[1], baudrate=9600, timeout=5)
seen = {}


def until(look):
    deadline = time.time() + 5
    while not look() and time.time() < deadline:
        time.sleep(0.01)
    return look()


everything = bytes(range(256)) * 4
port.write(everything)
seen['bytes'] = port.read(len(everything)) == everything

for name, values in {
    'baudrate': [300, 115200, 250000, 0x00FFFF],
    'bytesize': [7, 8],
    'parity': ['E', 'O', 'M', 'S', 'N'],
    'stopbits': [2, 1],
    'rtscts': [True, False],
    'xonxoff': [True, False],
}.items():
    taken = []
    for value in values:
        setattr(port, name, value)
        taken.append(getattr(port, name))
    seen[name] = taken

for name, wires in {'rts': ['cts'], 'dtr': ['dsr', 'cd']}.items():
    for value in (False, True):
        setattr(port, name, value)
        for wire in wires:
            seen['%s %s' % (wire, value)] = until(lambda: getattr(port, wire) == value)
seen['ri'] = port.ri

port.break_condition = True
port.break_condition = False
port.send_break(0.05)

port.write(b'forgotten')
until(lambda: port.in_waiting == 9)
port.reset_input_buffer()
port.reset_output_buffer()
seen['forgotten'] = port.in_waiting

try:
    port.stopbits = 1.5
    seen['refused'] = False
except ValueError as error:
    seen['refused'] = str(error)

port.write(b'still here')
seen['after'] = port.read(10).decode()
port.close()
port.stopbits = 1
port.open()
port.write(b'again')
seen['reopened'] = port.read(5).decode()
port.close()
print(json.dumps(seen))
