package decision

import (
	"encoding/hex"
	"math/rand/v2"
	"time"
)

// newDecisionID returns a UUID of version 7 (RFC 9562, section 5.7): the
// milliseconds of now, then 74 random bits. It orders by time and is no
// secret.
func newDecisionID(now time.Time) string {
	ms, r1, r2 := uint64(now.UnixMilli()), rand.Uint64(), rand.Uint64()
	var raw [16]byte
	for i := range 6 {
		raw[i] = byte(ms >> (40 - 8*i))
	}
	raw[6], raw[7] = 0x70|byte(r1>>8)&0x0f, byte(r1)
	for i := range 8 {
		raw[8+i] = byte(r2 >> (56 - 8*i))
	}
	raw[8] = 0x80 | raw[8]&0x3f
	var text [36]byte
	hex.Encode(text[0:8], raw[0:4])
	hex.Encode(text[9:13], raw[4:6])
	hex.Encode(text[14:18], raw[6:8])
	hex.Encode(text[19:23], raw[8:10])
	hex.Encode(text[24:36], raw[10:16])
	text[8], text[13], text[18], text[23] = '-', '-', '-', '-'
	return string(text[:])
}
