package store

import "errors"

func oldRemovalsAreForgotten(f fixture) {
	t, s := f.t, f.s
	c := newCollection(t, s, "c")
	upsert(t, s, c, version("a", "one"))
	if _, err := s.Changes(t.Context(), c, 99, 10); !errors.Is(err, ErrForgotten) {
		t.Errorf("a generation of the future: %v", err)
	}
	later := func(generation int64) {
		if _, err := s.db.ExecContext(t.Context(), `UPDATE search_collections SET generation = $1`, generation); err != nil {
			t.Fatal(err)
		}
	}
	later(2 * remembered)
	upsert(t, s, c, version("b", "one"))
	if _, err := s.Changes(t.Context(), c, 1, 10); err != nil {
		t.Errorf("a generation since when nothing was removed: %v", err)
	}
	upsert(t, s, c, version("a", "one and a half"))
	later(4 * remembered)
	upsert(t, s, c, version("a", "two"))
	if _, err := s.Changes(t.Context(), c, 2, 10); !errors.Is(err, ErrForgotten) {
		t.Errorf("a generation of long ago: %v", err)
	}
	if ch, err := s.Changes(t.Context(), c, 4*remembered, 10); err != nil || len(ch.Removed) != 1 {
		t.Errorf("a generation of now: %+v, %v", ch, err)
	}
}
