package segment

import "hash/crc32"

// blockSums are the checksums of blocks of a size, of bytes that come in
// pieces.
type blockSums struct {
	size int
	sums []uint32
	open uint32
	in   int // how many bytes the open block has
}

func (s *blockSums) add(b []byte) {
	for len(b) > 0 {
		n := min(len(b), s.size-s.in)
		s.open = crc32.Update(s.open, castagnoli(), b[:n])
		s.in += n
		b = b[n:]
		if s.in == s.size {
			s.sums, s.open, s.in = append(s.sums, s.open), 0, 0
		}
	}
}

func (s *blockSums) done() []uint32 {
	if s.in > 0 {
		s.sums, s.open, s.in = append(s.sums, s.open), 0, 0
	}
	return s.sums
}
