package actors

import "fmt"

// Halt has the actor take no more messages, because its file is found to be
// damaged: the batch at hand is finished, readiness says why, and queries are
// still answered as far as they can be. It lasts until the process is started
// again, when the file is checked as a whole. The other actors go on.
func (h *Host) Halt(problem string) {
	err := fmt.Errorf("the file is damaged: %s", problem)
	h.halt.CompareAndSwap(nil, &err)
	h.notReady(err)
}

// halted is why Halt was called; nil when it was not.
func (h *Host) halted() error {
	if err := h.halt.Load(); err != nil {
		return *err
	}
	return nil
}
