package leak

import (
	"bytes"
	"encoding/binary"
	"unicode/utf16"
	"unicode/utf8"
)

// byteOrder returns the order of UTF-16 text that begins with a byte order mark.
// Every line break, space or digit of such text has a zero byte; bytes that
// begin like a mark and have none are something else.
func byteOrder(data []byte) binary.ByteOrder {
	if len(data) < 2 || bytes.IndexByte(data[:min(len(data), 1024)], 0) < 0 {
		return nil
	}
	switch [2]byte{data[0], data[1]} {
	case [2]byte{0xff, 0xfe}:
		return binary.LittleEndian
	case [2]byte{0xfe, 0xff}:
		return binary.BigEndian
	}
	return nil
}

// IsUTF16 reports whether data begins with the byte order mark of UTF-16: text
// with many zero bytes that is not binary.
func IsUTF16(data []byte) bool { return byteOrder(data) != nil }

// transcode returns UTF-16 data as UTF-8 without its mark, and other data as
// it is.
func transcode(data []byte) (text []byte, wide bool) {
	order := byteOrder(data)
	if order == nil {
		return data, false
	}
	return appendUTF8(make([]byte, 0, len(data)*3/4), data[2:], order), true
}

// appendUTF8 appends the UTF-8 form of data. A half surrogate becomes U+FFFD;
// an odd last byte is dropped.
func appendUTF8(dst, data []byte, order binary.ByteOrder) []byte {
	for i := 0; i+1 < len(data); i += 2 {
		r := rune(order.Uint16(data[i:]))
		if utf16.IsSurrogate(r) {
			r = utf8.RuneError
			if i+3 < len(data) {
				r = utf16.DecodeRune(rune(order.Uint16(data[i:])), rune(order.Uint16(data[i+2:])))
			}
			if r != utf8.RuneError {
				i += 2
			}
		}
		dst = utf8.AppendRune(dst, r)
	}
	return dst
}

// codeUnits counts the UTF-16 code units that valid UTF-8 came from. It counts
// bytes, so it may be cut anywhere as long as the cut is the same each time.
func codeUnits(text []byte) int {
	n := 0
	for _, c := range text {
		if !utf8.RuneStart(c) {
			continue
		}
		n++
		if c >= 0xf0 {
			n++ // four bytes: a surrogate pair
		}
	}
	return n
}
