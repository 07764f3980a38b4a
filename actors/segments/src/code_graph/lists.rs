//! Many short lists of numbers in one place of memory.

/// Lists, one for each node of a graph.
#[derive(Debug, Default)]
pub(super) struct Lists {
    /// The numbers of all lists, list by list.
    numbers: Vec<u32>,
    /// Where in `numbers` each list ends.
    ends: Vec<u32>,
}

impl Lists {
    /// Adds a list. None if there are too many numbers, or too large ones.
    pub(super) fn push(&mut self, list: impl Iterator<Item = usize>) -> Option<()> {
        for number in list {
            self.numbers.push(u32::try_from(number).ok()?);
        }
        self.ends.push(u32::try_from(self.numbers.len()).ok()?);
        Some(())
    }

    /// Gives back the memory that was taken for lists to come.
    pub(super) fn shrink(&mut self) {
        self.numbers.shrink_to_fit();
        self.ends.shrink_to_fit();
    }

    /// A list; empty if there is no such list.
    pub(super) fn of(&self, node: usize) -> impl Iterator<Item = usize> {
        let end_of = |node: usize| usize::try_from(*self.ends.get(node)?).ok();
        let start = node.checked_sub(1).map_or(Some(0), end_of);
        let range = start.zip(end_of(node));
        let list = range.and_then(|(start, end)| self.numbers.get(start..end));
        let list = list.unwrap_or_default().iter();
        list.filter_map(|number| usize::try_from(*number).ok())
    }

    /// Bytes of memory.
    pub(super) fn memory_bytes(&self) -> usize {
        (self.numbers.capacity() + self.ends.capacity()) * size_of::<u32>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_node_has_its_own_list() {
        let mut lists = Lists::default();
        for list in [vec![], vec![7, 8], vec![], vec![9]] {
            assert_eq!(lists.push(list.into_iter()), Some(()));
        }
        let found: Vec<Vec<usize>> = (0..6).map(|node| lists.of(node).collect()).collect();
        assert_eq!(found, [vec![], vec![7, 8], vec![], vec![9], vec![], vec![]]);
        assert!(lists.memory_bytes() >= 7 * 4);
        assert_eq!(lists.push([usize::MAX].into_iter()), None);
    }
}
