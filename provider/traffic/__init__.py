"""What keeps visitors served while their site changes: releases in turns, the look from outside, members, addresses."""
