package callwire

import (
	"encoding/binary"
	"strings"

	"google.golang.org/grpc/metadata"
)

// parser reads what the functions above append; after a failure all is zero. What it reads
// shares one string.
type parser struct {
	bytes  []byte // what is left
	rest   string // the same
	failed bool
}

func newParser(b []byte) *parser { return &parser{bytes: b, rest: string(b)} }

// whole reports whether all was read, and nothing failed.
func (p *parser) whole() bool { return !p.failed && len(p.bytes) == 0 }

func (p *parser) skip(n int) { p.bytes, p.rest = p.bytes[n:], p.rest[n:] }

func (p *parser) number() uint64 {
	n, size := binary.Uvarint(p.bytes)
	if size <= 0 || p.failed {
		p.failed = true
		return 0
	}
	p.skip(size)
	return n
}

func (p *parser) text() string {
	n := p.number()
	if n > uint64(len(p.bytes)) {
		p.failed = true
		return ""
	}
	s := p.rest[:n]
	p.skip(int(n))
	return s
}

func (p *parser) metadata() metadata.MD {
	n := p.number()
	if n > uint64(len(p.bytes))/2 { // each pair has two lengths at least
		p.failed = true
	}
	if p.failed || n == 0 {
		return nil
	}
	md, all := make(metadata.MD, min(n, 16)), make([]string, n)
	for i := range all {
		name, value := p.text(), p.text()
		if p.failed || reserved(name) || name != strings.ToLower(name) {
			p.failed = true
			return nil
		}
		if all[i] = value; md[name] == nil {
			md[name] = all[i : i+1 : i+1]
		} else {
			md[name] = append(md[name], value)
		}
	}
	return md
}
