package ledger

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/poterne/poterne/services/edge/internal/linefile"
)

// A slot is a request in hand, in memory that is a file: what is in it stays when
// the process is killed, and writing there costs no call of the system.
//
// Its words are state, area, input, cached, output, estimated, reasoning and audio, of
// eight bytes each, the last one of input and output in four; behind them are two areas, each the length, the checksum and the text of an
// entry. A new text goes into the area that is not in use, so that one that is half
// written counts for nothing.
const (
	slotBytes     = 4096
	slotHead      = 64
	areaBytes     = (slotBytes - slotHead) / 2
	areaHead      = 8
	maxSlotText   = areaBytes - areaHead
	slotsPerChunk = 256
	// maxChunks bounds the requests in hand that survive: 16,384.
	maxChunks   = 64
	chunkBytes  = slotsPerChunk * slotBytes
	slotsSuffix = ".inhand"
)

const (
	wordState = 8 * iota
	wordArea
	wordInput
	wordCached
	wordOutput
	wordEstimated
	wordReasoning
	wordAudio
)

// slots are the requests in hand of this process. Their memory is never given back: a
// request that outlives the end of everything else may still write to it.
type slots struct {
	dir string

	mu     sync.Mutex
	chunks [][]byte
	free   []*Slot
}

// Slot is a request in hand. Its methods are called by one goroutine at a time, and
// may be called on a nil one, which keeps nothing.
type Slot struct {
	of      *slots
	mem     []byte
	request int // how many bytes the text has that say which request it is; 0: there is none
}

// errNoSlot says that there is no room for another request in hand.
var errNoSlot = errors.New("ledger: no room for another request in hand")

// take returns a slot that holds e.
func (s *slots) take(e *Entry) (*Slot, error) {
	slot, err := s.empty()
	if err != nil {
		return nil, err
	}
	slot.set(wordState, 0)
	for _, w := range []int{wordInput, wordCached, wordOutput, wordEstimated, wordReasoning, wordAudio} {
		slot.set(w, 0)
	}
	slot.request = 0
	if err := slot.write(e); err != nil {
		slot.Free()
		return nil, err
	}
	slot.set(wordState, 1)
	return slot, nil
}

func (s *slots) empty() (*Slot, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.free) == 0 {
		if err := s.grow(); err != nil {
			return nil, err
		}
	}
	last := len(s.free) - 1
	slot := s.free[last] // the one that was used last: few pages are touched
	s.free = s.free[:last]
	return slot, nil
}

// grow adds a chunk.
func (s *slots) grow() error {
	if len(s.chunks) == maxChunks {
		return errNoSlot
	}
	f, mem, err := linefile.Map(filepath.Join(s.dir, fmt.Sprintf("%03d%s", len(s.chunks), slotsSuffix)), chunkBytes)
	if err != nil {
		return fmt.Errorf("ledger: make room for requests in hand: %w", err)
	}
	defer f.Close()
	// Requests that wait need none of it, and few at a time go on. Those that went on since
	// the last time are in any of the chunks.
	for _, chunk := range s.chunks {
		linefile.Rest(chunk)
	}
	s.chunks = append(s.chunks, mem)
	for i := slotsPerChunk - 1; i >= 0; i-- {
		s.free = append(s.free, &Slot{of: s, mem: mem[i*slotBytes : (i+1)*slotBytes : (i+1)*slotBytes]})
	}
	return nil
}

func (s *Slot) get(word int) int64    { return int64(binary.LittleEndian.Uint64(s.mem[word:])) }
func (s *Slot) set(word int, n int64) { binary.LittleEndian.PutUint64(s.mem[word:], uint64(n)) }

func (s *Slot) area(n int64) []byte {
	from := slotHead + int(n&1)*areaBytes
	return s.mem[from : from+areaBytes]
}

// write has the slot hold e from now on.
func (s *Slot) write(e *Entry) error {
	next := s.get(wordArea) ^ 1
	area := s.area(next)
	// Written where it is to be: one that is longer gets memory of its own.
	text := area[areaHead:areaHead:areaBytes]
	if s.request > 0 {
		text = append(text, s.area(next ^ 1)[areaHead:areaHead+s.request]...)
	} else {
		text = e.appendRequest(text)
		s.request = len(text)
	}
	text = e.appendUse(text)
	if len(text) > maxSlotText {
		return errNoSlot
	}
	binary.LittleEndian.PutUint32(area, uint32(len(text)))
	binary.LittleEndian.PutUint32(area[4:], crc32.ChecksumIEEE(text))
	s.set(wordArea, next)
	return nil
}

// Update has the slot hold e, of which more is known now: what worked on it. Which
// request it is, and whose, must be what it was.
func (s *Slot) Update(e *Entry) error {
	if s == nil {
		return nil
	}
	return s.write(e)
}

// Count notes what the engine has counted so far.
func (s *Slot) Count(t Tokens, estimated bool) {
	if s == nil {
		return
	}
	s.set(wordInput, t.Input)
	s.set(wordCached, t.Cached)
	s.set(wordOutput, t.Output)
	s.set(wordReasoning, t.Reasoning)
	s.set(wordAudio, t.AudioInput<<32|t.AudioOutput&math.MaxUint32) // engines count to 2^31
	s.set(wordEstimated, number(estimated))
}

// Free ends the slot's use: the entry is in the journal, or is none.
func (s *Slot) Free() {
	if s == nil {
		return
	}
	s.set(wordState, 0)
	s.of.mu.Lock()
	defer s.of.mu.Unlock()
	s.of.free = append(s.of.free, s)
}

// left returns the entry that a process left in the slot.
func (s *Slot) left() (Entry, bool) {
	if s.get(wordState) == 0 {
		return Entry{}, false
	}
	for _, n := range []int64{s.get(wordArea), s.get(wordArea) ^ 1} {
		area := s.area(n)
		size := int(binary.LittleEndian.Uint32(area))
		if size == 0 || size > maxSlotText {
			continue
		}
		text := area[areaHead : areaHead+size]
		var e Entry
		if crc32.ChecksumIEEE(text) != binary.LittleEndian.Uint32(area[4:]) || json.Unmarshal(text, &e) != nil {
			continue
		}
		e.Tokens = Tokens{
			Input: s.get(wordInput), Cached: s.get(wordCached), Output: s.get(wordOutput), Reasoning: s.get(wordReasoning),
			AudioInput: s.get(wordAudio) >> 32, AudioOutput: s.get(wordAudio) & math.MaxUint32,
		}
		e.Estimated, e.Outcome = s.get(wordEstimated) != 0, Recovered
		return e, true
	}
	return Entry{}, false
}

// leftInHand returns the requests that a process before had in hand when it ended.
func leftInHand(dir string) ([]Entry, []string, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*"+slotsSuffix))
	if err != nil {
		return nil, nil, fmt.Errorf("ledger: look into the journal: %w", err)
	}
	slices.Sort(paths)
	var out []Entry
	for _, path := range paths {
		mem, err := os.ReadFile(path)
		if err != nil {
			return nil, nil, fmt.Errorf("ledger: read requests in hand: %w", err)
		}
		for ; len(mem) >= slotBytes; mem = mem[slotBytes:] {
			if e, ok := (&Slot{mem: mem[:slotBytes]}).left(); ok {
				out = append(out, e)
			}
		}
	}
	return out, paths, nil
}
