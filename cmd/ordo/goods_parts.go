package main

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// csvPart is a part of a CSV file that is a CSV file itself.
type csvPart struct {
	text []byte
	// skipped is how many lines of the file its second line comes later than in
	// the part.
	skipped int
}

// splitCSV cuts a catalogue into parts of at most so many bytes, each with the
// header. All rows of a product are in one part, because a part says all of a
// product. A small file is one part, whatever is in it.
func splitCSV(text []byte, most int) ([]csvPart, error) {
	if len(text) <= most {
		return []csvPart{{text: text}}, nil
	}
	in := csv.NewReader(bytes.NewReader(text))
	in.ReuseRecord, in.FieldsPerRecord = true, -1
	names, err := in.Read()
	if err != nil {
		return nil, err
	}
	spu := slices.IndexFunc(names, func(name string) bool {
		return strings.TrimSpace(strings.TrimPrefix(name, "\ufeff")) == "spu"
	})
	s := splitter{text: text, most: most, header: text[:in.InputOffset()], spu: spu,
		in: map[string]int{}, before: -1}
	s.from, s.cut = len(s.header), len(s.header)
	for at := len(s.header); ; at = int(in.InputOffset()) {
		rec, err := in.Read()
		if errors.Is(err, io.EOF) {
			s.end(len(text))
			return s.parts, s.check()
		}
		if err != nil {
			return nil, err
		}
		line, _ := in.FieldPos(0)
		if err := s.row(rec, at, line); err != nil {
			return nil, err
		}
	}
}

// splitter cuts a file.
type splitter struct {
	text, header []byte
	most, spu    int
	parts        []csvPart
	// from is where the part at hand begins and fromLine the line of its first
	// row; cut and cutLine are the last place between two products.
	from, cut         int
	fromLine, cutLine int
	last              string
	// in is the part in which each product is, before that of the one at hand
	// when it has rows further up, else -1; apart is one that is in two parts.
	in     map[string]int
	before int
	apart  string
}

// row takes a row that begins at an offset and a line.
func (s *splitter) row(rec []string, at, line int) error {
	product := ""
	if s.spu >= 0 && s.spu < len(rec) {
		product = strings.TrimSpace(rec[s.spu])
	}
	if s.fromLine == 0 {
		s.fromLine, s.cutLine = line, line
	}
	if product != s.last || product == "" {
		s.begin(product, at, line)
	}
	if at-s.from+len(s.header) > s.most-maxRow {
		if s.cut == s.from {
			return fmt.Errorf("line %d: the rows of product %q are more than %d bytes", line,
				product,
				s.most)
		}
		s.end(s.cut)
	}
	if s.before >= 0 && s.before != len(s.parts) {
		s.apart = s.last
	}
	s.in[s.last] = len(s.parts)
	return nil
}

// begin takes the first row of a product, before which the file may be cut.
func (s *splitter) begin(product string, at, line int) {
	s.cut, s.cutLine, s.last, s.before = at, line, strings.Clone(product), -1
	if part, known := s.in[product]; known {
		s.before = part
	}
}

// maxRow is more than a row that is not refused can have, in bytes.
const maxRow = 256 << 10

// end ends the part at hand at an offset.
func (s *splitter) end(at int) {
	s.parts = append(s.parts, csvPart{append(slices.Clone(s.header), s.text[s.from:at]...),
		s.fromLine - 1 - bytes.Count(s.header, []byte("\n"))})
	s.from, s.fromLine = s.cut, s.cutLine
}

// check refuses a file in which a product is in two parts.
func (s *splitter) check() error {
	if s.apart != "" {
		return fmt.Errorf("a file of more than %d bytes needs the rows of a product together, and "+
			"those of %q are not: sort it by spu", s.most, s.apart)
	}
	return nil
}
