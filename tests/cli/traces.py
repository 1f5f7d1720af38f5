"""Traces, as the format says them."""
import struct

CRC_TABLE = []
for byte in range(256):
    for _ in range(8):
        byte = (byte >> 1) ^ (0x82F63B78 if byte & 1 else 0)
    CRC_TABLE.append(byte)


def make_trace(reads):
    """A file as the format says it: (layer, offset, size) each."""
    records = b"".join(struct.pack("<c3xIQq", b"R", layer, size, offset) for layer, offset, size in reads)
    crc = 0
    for byte in records:
        crc = CRC_TABLE[(crc ^ byte) & 255] ^ (crc >> 8)
    return struct.pack("<I4xQI4x", 0xC2EF1820, len(records), crc) + records
