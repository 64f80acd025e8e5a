package memory

import "testing"

func TestReserveAllOrNothing(t *testing.T) {
	p := NewPools(map[string]int64{"cpu": 100, "gpu0": 10})
	if s := p.Reserve(map[string]int64{"cpu": 60, "gpu0": 10}); s != nil {
		t.Fatalf("the first does not fit: %+v", s)
	}
	s := p.Reserve(map[string]int64{"cpu": 10, "gpu0": 1})
	if s == nil || s.ID != "gpu0" || s.Needed != 1 || s.Used != 10 || s.Total != 10 || !s.Known {
		t.Fatalf("got %+v", s)
	}
	if list := p.List(); list[0].Used != 60 || list[0].Free() != 40 || list[1].Free() != 0 {
		t.Fatalf("a refused reservation took something: %+v", list)
	}
	p.Release(map[string]int64{"cpu": 60, "gpu0": 10})
	if s := p.Reserve(map[string]int64{"cpu": 100}); s != nil {
		t.Fatalf("what was released is not free: %+v", s)
	}
	if s := p.Reserve(map[string]int64{"gpu7": 1}); s == nil || s.Known {
		t.Fatalf("an unknown pool: %+v", s)
	}
}

func TestExchange(t *testing.T) {
	p := NewPools(map[string]int64{"cpu": 100, "gpu0": 10})
	have := map[string]int64{"cpu": 80}
	if s := p.Exchange(nil, have); s != nil {
		t.Fatalf("the first does not fit: %+v", s)
	}
	// What is given back counts as free.
	more := map[string]int64{"cpu": 90, "gpu0": 5}
	if s := p.Exchange(have, more); s != nil {
		t.Fatalf("it does not fit in place of the first: %+v", s)
	}
	if s := p.Exchange(more, map[string]int64{"cpu": 101}); s == nil || s.Needed != 101 || s.Used != 0 {
		t.Fatalf("got %+v", s)
	}
	if list := p.List(); list[0].Used != 0 || list[1].Used != 0 {
		t.Fatalf("what did not fit holds something: %+v", list)
	}
}

func TestMachine(t *testing.T) {
	n, err := Machine()
	if err != nil || n < 64<<20 {
		t.Fatalf("got %d, %v", n, err)
	}
}

// What the machine says is free bounds what the account says, less what was set
// aside and does not show yet.
func TestMeasured(t *testing.T) {
	p := NewPools(map[string]int64{"cpu": 100})
	need := map[string]int64{"cpu": 30}
	p.Measure("cpu", 50, 0)
	if s := p.Reserve(map[string]int64{"cpu": 51}); s == nil || s.Available != 50 || s.Measured != 50 {
		t.Fatalf("got %+v", s)
	}
	if s := p.Reserve(need); s != nil {
		t.Fatalf("got %+v", s)
	}
	if got := p.List()[0]; got.Free() != 20 {
		t.Errorf("after a reservation %d are free", got.Free())
	}
	p.Measure("cpu", 50, 30)
	if got := p.List()[0]; got.Free() != 20 {
		t.Errorf("with what does not show yet %d are free", got.Free())
	}
	p.Grow("cpu", 60)
	if got := p.List()[0]; got.Used != 90 || got.Free() != 10 {
		t.Errorf("after it grew: %+v", got)
	}
	p.Measure("cpu", Unknown, 0)
	p.Close("cpu", "broken")
	if s := p.Reserve(map[string]int64{"cpu": 1}); s == nil || s.Closed != "broken" {
		t.Errorf("a closed pool: %+v", s)
	}
	p.Close("cpu", "")
	p.Ensure("cpu", 7)
	p.Ensure("gpu0", 7)
	if l := p.List(); l[0].Total != 100 || l[1].Total != 7 {
		t.Errorf("pools: %+v", l)
	}
}

func TestAvailable(t *testing.T) {
	free, err := Available()
	total, _ := Machine()
	if err != nil || free <= 0 || free > total {
		t.Fatalf("got %d of %d, %v", free, total, err)
	}
}
