package stores

import (
	"fmt"

	"zombiezen.com/go/sqlite"
)

// OpenMemory opens a database that exists in memory alone, as a copy of an
// image that File.Image made; an empty image makes an empty database. One
// connection both writes and reads, so the file belongs to one goroutine.
func OpenMemory(image []byte) (*File, error) {
	c, err := openConn(":memory:", sqlite.OpenReadWrite|sqlite.OpenCreate, "foreign_keys=ON",
		"temp_store=MEMORY")
	if err != nil {
		return nil, fmt.Errorf("stores: open in memory: %w", err)
	}
	f := &File{Path: ":memory:", W: c, R: []*Conn{c}}
	if len(image) == 0 {
		return f, nil
	}
	if err := f.Restore(image); err != nil {
		c.Close()
		return nil, err
	}
	return f, nil
}

// Image is the whole committed database as bytes. No transaction may be open.
func (f *File) Image() ([]byte, error) {
	image, err := f.W.c.Serialize("main")
	if err != nil {
		return nil, fmt.Errorf("stores: image of %s: %w", f.Path, err)
	}
	// Bytes 18 and 19 say that the file has a write-ahead log, which one in
	// memory can't have. Source: sqlite.org/fileformat2.html, 1.3.3.
	if len(image) > 19 {
		image[18], image[19] = 1, 1
	}
	return image, nil
}

// Restore makes a database in memory what it was when image was made. No
// transaction may be open.
func (f *File) Restore(image []byte) error {
	if err := f.W.c.Deserialize("main", image); err != nil {
		return fmt.Errorf("stores: restore %s: %w", f.Path, err)
	}
	return nil
}
